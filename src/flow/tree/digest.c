/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <unistd.h>

#include "base/alloc.h"
#include "tree/internal.h"

/*
 * The digest is a hash over one text: for each entry the fields that COPY's result depends on,
 * each with its length or of fixed size, so that no two selections share a text. Its first
 * line changes whenever the text's form does, and with it every key.
 */
static const char version[] = "spaceport tree 1\n";

enum { BLOCK = 128 * 1024, BYTES_BETWEEN_CHECKS = 64 * BLOCK };

struct digesting {
	struct tree_selection *s;
	struct tree_cache *cache;
	struct opener opener;
	struct hasher *hasher; /* of file contents */
	char *block;
};

static void digesting_done(struct digesting *d)
{
	tree_opener_done(&d->opener);
	hasher_free(d->hasher);
	free(d->block);
}

DEFINE_CLEANUP_VALUE(struct digesting, digesting_done);

/* As many bytes as the file has by its metadata; fewer or more is found by tree_node_verify(). */
static int hash_content(struct digesting *d, int fd, const struct node *node, struct err *err)
{
	uint64_t left = node->size;

	while (left) {
		ssize_t n = read(fd, d->block, left < BLOCK ? left : BLOCK);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(err, "%s: read %s", d->s->place, node->real);
		if (n == 0)
			break;
		hasher_add(d->hasher, d->block, (size_t)n);
		left -= (uint64_t)n;
		if (left % BYTES_BETWEEN_CHECKS < BLOCK && tree_selection_go_on(d->s, err) < 0)
			return -(int)ERR_CANCELLED;
	}
	return 0;
}

static int read_body(
	struct digesting *d, const struct node *node, struct body *ret, struct err *err)
{
	const struct tree_xattr *xattrs;
	size_t count;
	cleanup(arena_done) struct arena a = {0};
	cleanup_close int fd = tree_opener_open(&d->opener, node, err);

	if (fd < 0)
		return fd;
	int r = hash_content(d, fd, node, err);
	ret->digest = hasher_finish(d->hasher);
	if (r < 0 || tree_node_verify(d->s, node, fd, err) < 0)
		return -(int)err->kind;
	if (tree_xattrs_read(&a, fd, &xattrs, &count, err) < 0)
		return err_wrap(err, "%s: %s", d->s->place, node->real);
	ret->has_xattrs = count > 0;
	if (count) {
		cleanup(buf_done) struct buf text = {0};
		buf_add(&text, ret->digest.bytes, DIGEST_SIZE);
		tree_xattrs_print(xattrs, count, &text);
		ret->digest = digest_of(text.data, text.len);
	}
	return 0;
}

static int find_body(
	struct digesting *d, const struct node *node, struct body *ret, struct err *err)
{
	if (d->cache && tree_cache_find(d->cache, node, ret))
		return 0;
	if (read_body(d, node, ret, err) < 0)
		return -(int)err->kind;
	if (d->cache)
		tree_cache_note(d->cache, node, ret);
	return 0;
}

static int print_node(struct digesting *d, struct node *node, struct buf *text, struct err *err)
{
	struct body body = {0};

	if (node->is_source)
		buf_add_char(text, S_ISDIR(node->mode) ? 'D' : 'F');
	/* COPY takes a directory's contents only. */
	if (node->is_source && S_ISDIR(node->mode))
		return 0;
	buf_add_field(text, str_of(node->path));
	buf_add_u32(text, node->mode);
	buf_add_u32(text, node->uid);
	buf_add_u32(text, node->gid);
	buf_add_u64(text, node->rdev);
	buf_add_u64(text, node->size);
	buf_add_field(text, str_of(node->target));
	if (S_ISDIR(node->mode)) {
		buf_add_u64(text, node->xattr_count);
		tree_xattrs_print(node->xattrs, node->xattr_count, text);
	}
	if (!S_ISREG(node->mode) || node->is_socket)
		return 0;
	if (find_body(d, node, &body, err) < 0)
		return -(int)err->kind;
	node->is_bare = !body.has_xattrs;
	buf_add_char(text, body.has_xattrs ? 'x' : '-');
	buf_add(text, body.digest.bytes, DIGEST_SIZE);
	return 0;
}

int tree_digest(
	struct tree_selection *s, struct tree_cache *cache, struct digest *ret, struct err *err)
{
	struct err local = {0};
	cleanup(buf_done) struct buf text = {0};
	cleanup(hasher_free) struct hasher *whole = hasher_new();
	cleanup(digesting_done) struct digesting d = {
		.s = s,
		.cache = cache,
		.opener = OPENER_OF(s),
		.hasher = hasher_new(),
		.block = xmalloc(BLOCK),
	};

	buf_add_text(&text, version);
	for (size_t i = 0; i < s->count; i++) {
		if (print_node(&d, &s->nodes[i], &text, err ? err : &local) < 0)
			return -(int)(err ? err : &local)->kind;
		if (text.len < BLOCK / 2)
			continue;
		hasher_add(whole, text.data, text.len);
		buf_clear(&text);
	}
	hasher_add(whole, text.data, text.len);
	*ret = hasher_finish(whole);
	return 0;
}
