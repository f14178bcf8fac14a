/* SPDX-License-Identifier: Apache-2.0 */
#include "config/config.h"

#include <stdio.h>

#include "base/digest.h"

enum { USER_ID_DIGITS = 24 };

static void set(struct argv *env, const char *name, const char *value)
{
	argv_set_env(env, str_of(name), str_of(value));
}

void space_environment(const struct space_config *config, const struct flavor *flavor,
	const struct space_id *id, const char *host, struct argv *env)
{
	struct digest owner = digest_of(id->owner, strlen(id->owner));
	char hex[DIGEST_HEX_SIZE], number[16];

	set(env, "ACCELERATOR", flavor->gpus ? flavor->name : "none");
	snprintf(number, sizeof(number), "%u", flavor->vcpu);
	set(env, "CPU_CORES", number);
	snprintf(number, sizeof(number), "%uGi", flavor->ram_gb);
	set(env, "MEMORY", number);
	set(env, "SPACE_ID", id->text);
	set(env, "SPACE_AUTHOR_NAME", id->owner);
	set(env, "SPACE_REPO_NAME", id->name);
	set(env, "SPACE_TITLE", config->title ? config->title : id->name);
	set(env, "SPACE_HOST", host);
	(void)digest_hex(&owner, hex);
	argv_set_env(env, STR("SPACE_CREATOR_USER_ID"), str_from(hex, USER_ID_DIGITS));
}
