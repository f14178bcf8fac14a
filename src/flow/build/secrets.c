/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>

#include "base/alloc.h"
#include "build/internal.h"
#include "os/file.h"

/*
 * Secrets of a build: read once, before anything runs, in the caller's process; from there
 * they go through the memory of the box to a file on its private tmpfs, for one step.
 */

enum { SECRET_MAX = 500 * 1024 }; /* BuildKit's limit */

static int read_secret(
	const struct build_secret *from, struct build_secret_value *to, struct err *err)
{
	const char *value;

	to->id = from->id;
	if (from->file) {
		int r = file_read(AT_FDCWD, from->file, SECRET_MAX, &to->value, err);
		to->found = r == 0;
		return r < 0 ? err_wrap(err, "secret %s", from->id) : 0;
	}
	value = getenv(from->env ? from->env : from->id);
	to->found = value != NULL;
	if (!value) {
		(void)err_set(err, ERR_INPUT, "secret %s: the variable %s is not set", from->id,
			from->env ? from->env : from->id);
		return err_hint(
			err, "export it, or name a file: --secret id=%s,src=FILE", from->id);
	}
	buf_add_text(&to->value, value);
	return 0;
}

int build_read_secrets(struct build *b, struct err *err)
{
	size_t count = b->options->secret_count;

	b->secrets = arena_array(&b->arena, count + 1, sizeof(*b->secrets));
	for (size_t i = 0; i < count && !b->plan_only; i++) {
		int r = read_secret(&b->options->secrets[i], &b->secrets[i], err);
		if (r < 0)
			return r;
	}
	return 0;
}

struct build_secret_value *build_find_secret(struct build *b, const char *id)
{
	for (size_t i = 0; i < b->options->secret_count; i++)
		if (b->secrets[i].found && strcmp(b->secrets[i].id, id) == 0)
			return &b->secrets[i];
	return NULL;
}

/* ---- masking ---- */

enum { SHORTEST_MASKED = 4 };

struct mask {
	char **secrets;
	size_t count, cap;
	struct buf pending; /* may be the beginning of a secret */
};

struct mask *mask_new(void)
{
	return xcalloc(1, sizeof(struct mask));
}

void mask_free(struct mask *m)
{
	if (!m)
		return;
	for (size_t i = 0; i < m->count; i++) {
		explicit_bzero(m->secrets[i], strlen(m->secrets[i]));
		free(m->secrets[i]);
	}
	free(m->secrets);
	buf_done(&m->pending);
	free(m);
}

void mask_add(struct mask *m, struct str secret)
{
	/* A file's last line feed is not part of what gets printed. */
	secret = str_trim(secret);
	if (secret.n < SHORTEST_MASKED || memchr(secret.p, '\0', secret.n))
		return;
	m->secrets = xgrow(m->secrets, &m->cap, m->count + 1, sizeof(*m->secrets));
	m->secrets[m->count++] = str_dup(secret);
}

/*
 * What stands at `at`: the length of the longest secret there (0: none), and whether the text
 * ends in the midst of what may become a longer one.
 */
static size_t secret_at(const struct mask *m, struct str text, size_t at, bool *ret_undecided)
{
	struct str rest = str_from_index(text, at);
	size_t longest = 0;

	*ret_undecided = false;
	for (size_t i = 0; i < m->count; i++) {
		struct str secret = str_of(m->secrets[i]);
		if (str_starts(rest, secret) && secret.n > longest)
			longest = secret.n;
		*ret_undecided |= rest.n < secret.n && str_starts(secret, rest);
	}
	return longest;
}

static void show_pending(struct mask *m, bool is_last, struct buf *ret)
{
	struct str text = buf_str(&m->pending);
	size_t at = 0;

	while (at < text.n) {
		bool undecided;
		size_t len = secret_at(m, text, at, &undecided);
		if (undecided && !is_last)
			break;
		if (len)
			buf_add_text(ret, "***");
		else
			buf_add_char(ret, text.p[at]);
		at += len ? len : 1;
	}
	buf_cut_front(&m->pending, at);
}

void mask_feed(struct mask *m, struct str bytes, struct buf *ret)
{
	buf_add_str(&m->pending, bytes);
	show_pending(m, false, ret);
}

void mask_flush(struct mask *m, struct buf *ret)
{
	show_pending(m, true, ret);
}
