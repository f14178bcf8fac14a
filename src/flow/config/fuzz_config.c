/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <stdlib.h>

#include "config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool truth)
{
	if (!truth)
		abort();
}

static void check_ranges(const struct space_config *config)
{
	require(config->app_port >= 1 && config->app_port <= 65535);
	require(config->base_path[0] == '/');
	require(config->sdk <= SPACE_SDK_STATIC && config->header <= SPACE_HEADER_MINI);
	require(config->startup_duration_timeout > 0);
	require(config->hf_oauth_expiration_minutes >= 1);
	require(config->hf_oauth_expiration_minutes <= 43200);
	for (size_t i = 0; i < config->preload_count; i++)
		require(config->preload_from_hub[i].repo[0]);
	for (size_t i = 0; i < config->custom_header_count; i++)
		require(config->custom_headers[i].value[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct source readme = {"README.md", str_from((const char *)data, size)};
	cleanup(arena_done) struct arena arena = {0};
	cleanup(buf_done) struct buf text = {0};
	struct space_config config;
	struct err err = {0};
	size_t errors = 0;

	space_config_parse(&arena, &readme, &config);
	check_ranges(&config);
	for (size_t i = 0; i < config.finding_count; i++) {
		errors += config.findings[i].level == FINDING_ERROR;
		require(config.findings[i].text[0] && config.findings[i].span.line >= 1);
		if (i)
			require(config.findings[i].span.line >= config.findings[i - 1].span.line);
		if (i < 20)
			space_finding_print(&config.findings[i], &readme, &text);
	}
	require(errors == config.error_count);
	require((space_config_check(&config, &readme, &err) == 0) == (errors == 0));
	if (space_config_require_docker(&config, &readme, &err) == 0)
		require(config.sdk == SPACE_SDK_DOCKER);
	return 0;
}
