/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "build/internal.h"
#include "os/dir.h"
#include "os/file.h"

/* ---- where and whose ---- */

/* In an empty tree only numbers, and root, are somebody. */
static int resolve_owner(
	const struct build_step *step, int root, struct dir_owner *ret, struct err *err)
{
	int r = tree_owner_resolve(root, str_of(step->op->copy->chown), ret, err);

	if (r < 0 && err->kind == ERR_MISSING && step_is_linked(step))
		return err_hint(err, "with --link no file of the image is there to look names up "
				     "in: give the number, or leave --link out");
	return r;
}

static int fill_options(const struct build_step *step, int users, struct dir_owner *owner,
	struct tree_mode *mode, struct tree_copy_options *ret, struct err *err)
{
	const struct plan_op *op = step->op;
	const struct plan_copy *copy = op->copy;
	int r = 0;

	*ret = (struct tree_copy_options){.dest = copy->dest,
		.dest_is_dir = copy->dest_is_dir,
		.has_mtime = copy->has_epoch,
		.mtime = (int64_t)(copy->has_epoch ? copy->epoch : 0) * 1000000000};
	if (*copy->chown) {
		r = resolve_owner(step, users, owner, err);
		ret->owner = owner;
	}
	if (r == 0 && *copy->chmod) {
		r = tree_mode_parse(str_of(copy->chmod), mode, err);
		ret->mode = mode;
	}
	return r;
}

static int copy_feed(
	struct tree_feed *feed, int root, const struct tree_copy_options *options, struct err *err)
{
	int r = tree_copy(feed, root, options, err);

	tree_feed_free(feed);
	return r;
}

static int copy_from_tree(struct build *b, const struct build_step *step, int root,
	const struct tree_copy_options *options, struct err *err)
{
	cleanup(tree_selection_free) struct tree_selection *selection = NULL;
	int source;

	int r = build_mount_source(b, step->inputs[0].from, &source, err);
	if (r == 0)
		r = build_select(b, step->op, NULL, source, &selection, err);
	return r < 0 ? r : copy_feed(tree_feed_local(selection), root, options, err);
}

/* ---- heredocs: files written here, then copied like all others ---- */

static int write_heredocs(const struct plan_copy *copy, int dir, struct err *err)
{
	for (size_t i = 0; i < copy->file_count; i++) {
		int r = file_replace(dir, copy->files[i].name, copy->files[i].body, 0644, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int select_heredocs(
	const struct plan_copy *copy, int dir, struct tree_selection **ret, struct err *err)
{
	const struct tree_select_options options = {.place = "the heredocs"};
	const char **names = xcalloc(copy->file_count, sizeof(*names));

	for (size_t i = 0; i < copy->file_count; i++)
		names[i] = copy->files[i].name;
	int r = tree_select(dir, names, copy->file_count, &options, ret, err);
	free(names);
	return r;
}

static int copy_heredocs(const struct plan_copy *copy, int root,
	const struct tree_copy_options *options, struct err *err)
{
	cleanup(tree_selection_free) struct tree_selection *selection = NULL;
	cleanup_free char *path = xprintf("%s/heredocs", sandbox_scratch());

	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return err_sys(err, "make %s", path);
	cleanup_close int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return err_sys(err, "open %s", path);
	int r = write_heredocs(copy, dir, err);
	if (r == 0)
		r = select_heredocs(copy, dir, &selection, err);
	return r < 0 ? r : copy_feed(tree_feed_local(selection), root, options, err);
}

/* ---- sources from elsewhere: all of them are here by now ---- */

static int copy_fetched(const struct build_input *input, const struct plan_copy *copy, int root,
	const struct tree_copy_options *options, struct err *err)
{
	const struct tree_file file = {.fd = input->fd,
		.name = input->remote->name,
		.mode = 0600,
		.size = input->file.size,
		.mtime = input->file.mtime};
	struct tree_copy_options own = *options;

	if (copy->unpack != PLAN_ON)
		own.unpacker = NULL;
	return copy_feed(tree_feed_file(&file), root, &own, err);
}

/* ---- repositories ---- */

static bool is_git_dir(const void *arg, struct str path, const bool *parent, bool *state)
{
	size_t slash = str_rfind(path, '/');
	struct str name = slash < path.n ? str_from_index(path, slash + 1) : path;

	(void)arg;
	state[0] = (parent && parent[0]) || str_is(name, ".git");
	return state[0];
}

/* Without --keep-git-dir those of submodules, which lead nowhere now, are left out as well. */
static void tell_submodules(
	struct build *b, const struct build_step *step, const struct build_input *input)
{
	const struct build_event event = {.kind = BUILD_STEP_LOG,
		.step = step->number,
		.text = STR("the repository has submodules, which come only with "
			    "?submodules=true\n")};

	if (input->remote->git->submodules == PLAN_UNSET &&
		faccessat(input->fd, ".gitmodules", F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		build_emit(b, &event);
}

static int copy_repository(const struct build_input *input, int root,
	const struct tree_copy_options *options, struct err *err)
{
	const struct plan_git *git = input->remote->git;
	cleanup(tree_selection_free) struct tree_selection *selection = NULL;
	struct tree_select_options select = {.place = "the repository"};
	struct tree_copy_options own = *options;

	own.unpacker = NULL;
	if (git->keep_git_dir != PLAN_ON)
		select.ignore = (struct tree_filter){.states = 1, .matches = is_git_dir};
	int r = tree_select(input->fd, &git->subdir, 1, &select, &selection, err);
	return r < 0 ? r : copy_feed(tree_feed_local(selection), root, &own, err);
}

static int copy_remote(struct build *b, const struct build_step *step, int root,
	const struct tree_copy_options *options, struct err *err)
{
	int r = 0;

	for (size_t i = 0; i < step->input_count && r == 0; i++) {
		const struct build_input *input = &step->inputs[i];
		if (!input->remote)
			continue;
		if (input->remote->git) {
			tell_submodules(b, step, input);
			r = copy_repository(input, root, options, err);
			continue;
		}
		r = copy_fetched(input, step->op->copy, root, options, err);
	}
	return r;
}

/* ---- the steps ---- */

static int copy_paths(struct build *b, const struct build_step *step, int root,
	const struct tree_copy_options *options, struct err *err)
{
	const struct plan_copy *copy = step->op->copy;

	if (!plan_copy_paths(copy))
		return 0;
	if (copy->from.kind != PLAN_CONTEXT)
		return copy_from_tree(b, step, root, options, err);
	return copy_feed(tree_feed_receive(b->context_socket, (uint32_t)step->inputs[0].selection),
		root, options, err);
}

/* BuildKit says nothing; few mean it so. */
static void tell_replaced(struct build *b, const struct build_step *step)
{
	const char *dest = step->op->copy->dest;
	cleanup(buf_done) struct buf text = {0};

	buf_printf(&text,
		"several files became %s, each in place of the one before: "
		"if it is a directory, write %s/\n",
		dest, dest);
	const struct build_event event = {
		.kind = BUILD_STEP_LOG, .step = step->number, .text = buf_str(&text)};
	build_emit(b, &event);
}

int step_copy(struct build *b, const struct build_step *step, int users, int root, struct err *err)
{
	const struct plan_copy *copy = step->op->copy;
	struct tree_copy_options options;
	struct tree_unpacker unpacker;
	struct add_archive archive;
	struct dir_owner owner;
	struct tree_mode mode;
	size_t became_dest = 0;

	int r = fill_options(step, users, &owner, &mode, &options, err);
	options.became_dest = &became_dest;
	if (step->op->kind == PLAN_ADD && copy->unpack != PLAN_OFF)
		options.unpacker = add_unpacker(b, step, options.owner, &archive, &unpacker);
	if (r == 0)
		r = copy_paths(b, step, root, &options, err);
	if (r == 0)
		r = copy_remote(b, step, root, &options, err);
	if (r == 0 && copy->file_count)
		r = copy_heredocs(copy, root, &options, err);
	if (r == 0 && became_dest > 1)
		tell_replaced(b, step);
	return r;
}

int step_workdir(const struct build_step *step, int root, struct err *err)
{
	cleanup(tree_user_done) struct tree_user user = {0};

	int r = tree_user_resolve(root, str_of(step->op->user), &user, err);
	if (r < 0)
		return r;
	const struct dir_owner owner = {user.uid, user.gid};
	int fd = dir_make_all(root, step->op->workdir, 0755, &owner, err);
	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}
