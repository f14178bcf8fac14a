/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>

#include "tree/internal.h"

void tree_opener_done(struct opener *o)
{
	if (o->dir >= 0)
		close(o->dir);
	o->dir = -1;
}

int tree_changed(const struct tree_selection *s, const char *real, struct err *err)
{
	(void)err_set(
		err, ERR_FAILED, "%s: %s changed while the build was reading it", s->place, real);
	return err_hint(err, "build again; if a program keeps writing to the file, "
			     "list it in .dockerignore");
}

int tree_node_verify(
	const struct tree_selection *s, const struct node *node, int fd, struct err *err)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(err, "stat %s", node->real);
	bool same = st.st_mode == node->mode && st.st_dev == node->dev && st.st_ino == node->ino &&
		    stat_ns(&st.st_mtim) == node->mtime && stat_ns(&st.st_ctim) == node->changed &&
		    (!S_ISREG(st.st_mode) || (uint64_t)st.st_size == node->size);
	return same ? 0 : tree_changed(s, node->real, err);
}

static int enter_parent(struct opener *o, const struct node *node, size_t len)
{
	char path[TREE_MAX_PATH + 1];

	if (o->dir >= 0 && o->dir_len == len && memcmp(o->dir_path, node->real, len) == 0)
		return 0;
	tree_opener_done(o);
	memcpy(path, node->real, len);
	path[len] = '\0';
	o->dir = dir_open_beneath(
		o->selection->root, len ? path : ".", O_PATH | O_DIRECTORY, 0, NULL);
	o->dir_path = node->real;
	o->dir_len = len;
	return o->dir < 0 ? -1 : 0;
}

int tree_opener_open(struct opener *o, const struct node *node, struct err *err)
{
	const struct tree_selection *s = o->selection;
	size_t base = tree_path_base(str_of(node->real));
	int fd = -1;

	/* O_NONBLOCK: a FIFO may have taken the file's place. */
	if (enter_parent(o, node, base ? base - 1 : 0) == 0)
		fd = openat(o->dir, node->real[base] ? node->real + base : ".",
			O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP || errno == ENXIO))
		return tree_changed(s, node->real, err);
	if (fd < 0) {
		(void)err_sys(err, "%s: open %s", s->place, node->real);
		if (err->kind == ERR_DENIED)
			(void)err_hint(err, "make it readable, or list it in .dockerignore");
		return -(int)err->kind;
	}
	if (tree_node_verify(s, node, fd, err) == 0)
		return fd;
	close(fd);
	return -(int)err->kind;
}
