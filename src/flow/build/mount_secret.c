/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <sys/stat.h>

#include "build/mounts.h"
#include "os/file.h"

static int write_secret(struct held *h, const struct plan_mount *plan,
	const struct build_secret_value *secret, struct err *err)
{
	cleanup_close int fd = open(h->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0400);

	if (fd < 0)
		return err_sys(err, "make file for secret %s", plan->id);
	if (file_write_fd(fd, buf_str(&secret->value), err) < 0)
		return err_wrap(err, "secret %s", plan->id);
	if (fchown(fd, plan->uid, plan->gid) < 0 || fchmod(fd, plan->mode & 07777) < 0)
		return err_sys(err, "owner of secret %s", plan->id);
	return 0;
}

int mount_secret(
	struct build *b, struct step_mounts *m, const struct plan_mount *plan, struct err *err)
{
	const struct build_secret_value *secret = build_find_secret(b, plan->id);

	if (!secret && plan->required) {
		(void)err_set(err, ERR_INPUT, "secret %s is required and was not given", plan->id);
		return err_hint(err, "spaceport build --secret id=%s,env=%s (or src=FILE)",
			plan->id, plan->id);
	}
	if (*plan->env)
		argv_set_env(m->env, str_of(plan->env), secret ? buf_str(&secret->value) : STR(""));
	if (!secret || !*plan->target)
		return 0;
	struct held *h = mounts_hold(b, m, "secret");
	int r = write_secret(h, plan, secret, err);
	if (r < 0)
		return r;
	mounts_add(m, plan, h->path, true);
	m->items[m->count - 1].read_only = true;
	return 0;
}

int mount_script(
	struct build *b, struct step_mounts *m, const struct plan_file *script, struct err *err)
{
	struct held *h = mounts_hold(b, m, "script");
	char *target = arena_printf(&b->arena, "/dev/pipes/%s", script->name);

	int r = file_replace(AT_FDCWD, h->path, script->body, 0755, err);
	if (r < 0)
		return r;
	m->items[m->count++] = (struct sandbox_mount){
		.kind = SANDBOX_BIND, .source = h->path, .target = target, .read_only = true};
	return 0;
}
