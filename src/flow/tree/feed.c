/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>

#include "base/alloc.h"
#include "tree/internal.h"

/* ---- A selection of this process ---- */

struct local_feed {
	struct tree_feed feed;
	const struct tree_selection *selection;
	struct opener opener;
	struct arena arena; /* attributes of the current file */
};

static void local_free(struct tree_feed *feed)
{
	struct local_feed *l = (struct local_feed *)feed;

	tree_opener_done(&l->opener);
	arena_done(&l->arena);
}

static void fill_entry(const struct node *node, struct tree_entry *ret)
{
	*ret = (struct tree_entry){
		.path = node->path,
		.is_source = node->is_source,
		.mode = node->mode,
		.uid = node->uid,
		.gid = node->gid,
		.rdev = node->rdev,
		.size = node->size,
		.mtime = node->mtime,
		.target = node->target,
		.xattrs = node->xattrs,
		.xattr_count = node->xattr_count,
		.link = node->link,
	};
}

static int local_next(struct tree_feed *feed, struct err *err)
{
	struct local_feed *l = (struct local_feed *)feed;
	const struct tree_selection *s = l->selection;

	if (feed->number >= s->count)
		return TREE_FEED_END;
	const struct node *node = &s->nodes[feed->number];
	struct tree_entry *e = &feed->entry;
	fill_entry(node, e);
	if (!S_ISREG(node->mode) || node->is_socket)
		return 0;
	feed->fd = tree_opener_open(&l->opener, node, err);
	if (feed->fd < 0)
		return -(int)err->kind;
	arena_done(&l->arena);
	/* That is still so: setting one would have changed the time that was just compared. */
	if (node->is_bare)
		return 0;
	if (tree_xattrs_read(&l->arena, feed->fd, &e->xattrs, &e->xattr_count, err) < 0)
		return err_wrap(err, "%s: %s", s->place, node->real);
	return 0;
}

struct tree_feed *tree_feed_local(const struct tree_selection *s)
{
	struct local_feed *l = xcalloc(1, sizeof(*l));

	l->feed = (struct tree_feed){.next = local_next, .free = local_free, .fd = -1};
	l->selection = s;
	l->opener = (struct opener)OPENER_OF(s);
	return &l->feed;
}

/* ---- One file ---- */

struct file_feed {
	struct tree_feed feed;
	struct tree_file file;
};

static void file_free(struct tree_feed *feed)
{
	(void)feed;
}

static int file_next(struct tree_feed *feed, struct err *err)
{
	const struct tree_file *f = &((struct file_feed *)feed)->file;

	if (feed->number > 0)
		return TREE_FEED_END;
	feed->fd = fcntl(f->fd, F_DUPFD_CLOEXEC, 3);
	if (feed->fd < 0 || lseek(feed->fd, 0, SEEK_SET) < 0)
		return err_sys(err, "%s", f->name);
	feed->entry = (struct tree_entry){.path = f->name,
		.is_source = true,
		.mode = S_IFREG | f->mode,
		.size = f->size,
		.mtime = f->mtime};
	return 0;
}

struct tree_feed *tree_feed_file(const struct tree_file *file)
{
	struct file_feed *f = xcalloc(1, sizeof(*f));

	f->feed = (struct tree_feed){.next = file_next, .free = file_free, .fd = -1};
	f->file = *file;
	return &f->feed;
}

/* ---- Any feed ---- */

static void drop_fd(struct tree_feed *feed)
{
	if (feed->fd >= 0)
		close(take_fd(&feed->fd));
}

int tree_feed_next(
	struct tree_feed *feed, const struct tree_entry **ret, int *ret_fd, struct err *err)
{
	struct err local = {0};

	drop_fd(feed);
	int r = feed->next(feed, err ? err : &local);
	if (r)
		return r;
	feed->number++;
	*ret = &feed->entry;
	*ret_fd = feed->fd;
	return 0;
}

void tree_feed_free(struct tree_feed *feed)
{
	if (!feed)
		return;
	drop_fd(feed);
	feed->free(feed);
	free(feed);
}
