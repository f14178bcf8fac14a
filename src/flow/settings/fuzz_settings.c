/* SPDX-License-Identifier: Apache-2.0 */
#include <stdint.h>
#include <stdlib.h>

#include "settings/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool truth)
{
	if (!truth)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char home[] = "HOME=/nonexistent", *const env[] = {home, NULL};
	const struct settings_caller caller = {.env = env, .uid = 1000, .etc = "/nonexistent"};
	struct source source = {"spaceport.yaml", str_from((const char *)data, size)};
	cleanup(arena_done) struct arena arena = {0};
	struct settings settings;
	struct loader l = {
		.arena = &arena, .caller = &caller, .settings = &settings, .file = &source};
	struct yaml_problem problem;
	const struct yaml_node *root;
	struct err err = {0};

	set_defaults(&l);
	if (yaml_parse(&arena, &source, source.text, &root, &problem))
		return 0;
	if (settings_parse(&l, root, &err)) {
		require(err.kind == ERR_INPUT && err.text[0]);
		return 0;
	}
	require(fill_defaults(&l, &err) == 0);
	require(settings.data[0] == '/' && settings.runtime[0]);
	require(settings.subid_count == 0 || settings.subid_count >= 65536);
	for (size_t i = 0; i < settings.registry_count; i++)
		require(settings.registries[i].name[0]);
	return 0;
}
