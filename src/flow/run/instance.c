/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/dir.h"
#include "os/file.h"
#include "os/lock.h"
#include "run/internal.h"

/*
 * A directory without a lock is one whose process is gone, or one that is being made: both are
 * told apart by a lock on the whole, held while one is made and while they are swept.
 */

int instances_open(int data, int *ret_fd, struct err *err)
{
	if (mkdirat(data, "run", 0700) < 0 && errno != EEXIST)
		return err_sys(err, "make run in the state directory");
	int fd = dir_open_beneath(data, "run", O_RDONLY | O_DIRECTORY, 0, err);
	if (fd < 0)
		return fd;
	*ret_fd = fd;
	return 0;
}

int instances_lock(int runs, int *ret_lock, struct err *err)
{
	return lock_take(runs, "lock", LOCK_EXCLUSIVE, true, ret_lock, err);
}

void instance_done(struct instance *instance)
{
	int *fds[] = {&instance->dir, &instance->log, &instance->lock};

	for (size_t i = 0; i < array_size(fds); i++)
		if (*fds[i] > 0)
			close(take_fd(fds[i]));
}

static int make_dir(int runs, struct instance *ret, struct err *err)
{
	uint64_t random;

	for (;;) {
		if (getrandom(&random, sizeof(random), 0) != sizeof(random))
			return err_sys(err, "random bytes");
		snprintf(ret->id, sizeof(ret->id), "%012llx",
			(unsigned long long)(random & 0xffffffffffff));
		if (mkdirat(runs, ret->id, 0700) == 0)
			break;
		if (errno != EEXIST)
			return err_sys(err, "make run/%s in the state directory", ret->id);
	}
	ret->dir = dir_open_beneath(runs, ret->id, O_RDONLY | O_DIRECTORY, 0, err);
	return ret->dir < 0 ? ret->dir : 0;
}

static int make_log_dir(const struct dir_owner *owner, struct instance *ret, struct err *err)
{
	if (mkdirat(ret->dir, "log", 0700) < 0)
		return err_sys(err, "make the log of %s", ret->id);
	ret->log = dir_open_beneath(ret->dir, "log", O_RDONLY | O_DIRECTORY, 0, err);
	if (ret->log < 0)
		return ret->log;
	if (owner && fchown(ret->log, owner->uid, owner->gid) < 0)
		return err_sys(err, "give the log of %s to the box", ret->id);
	return 0;
}

int instance_new(int runs, const struct dir_owner *log_owner, struct instance *ret, struct err *err)
{
	cleanup(instance_done) struct instance made = {.dir = -1, .log = -1, .lock = -1};
	cleanup_close int whole = -1;

	int r = instances_lock(runs, &whole, err);
	if (r == 0)
		r = make_dir(runs, &made, err);
	if (r == 0)
		r = lock_take(made.dir, "lock", LOCK_EXCLUSIVE, true, &made.lock, err);
	if (r == 0)
		r = make_log_dir(log_owner, &made, err);
	if (r < 0) {
		if (made.id[0])
			instance_forget(runs, &made);
		return r;
	}
	*ret = made;
	made = (struct instance){.dir = -1, .log = -1, .lock = -1};
	return 0;
}

/*
 * Whole or not at all for a reader, but not synced: after a crash of the machine the instance
 * has ended anyway.
 */
int instance_save(const struct instance *instance, const struct state *state, struct err *err)
{
	static const char fresh[] = "state.new";
	cleanup(buf_done) struct buf text = {0};
	cleanup_close int fd = openat(
		instance->dir, fresh, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);

	state_print(state, &text);
	if (fd < 0)
		return err_sys(err, "write state of %s", instance->id);
	if (file_write_fd(fd, buf_str(&text), err) < 0)
		return err_wrap(err, "state of %s", instance->id);
	if (renameat(instance->dir, fresh, instance->dir, "state") < 0)
		return err_sys(err, "write state of %s", instance->id);
	return 0;
}

void instance_forget(int runs, struct instance *instance)
{
	struct err unused = {0};

	ignored(dir_remove_tree(runs, instance->id, &unused)); /* else the next sweep does it */
	instance_done(instance);
}
