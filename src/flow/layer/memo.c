/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A memo is a file digests/HASH-OF-THE-NAME: the digest of name and value, then the value. It is
 * replaced by renaming and never synced, since a torn one is told by its digest.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include "layer/internal.h"
#include "os/file.h"

enum { MEMO_LIMIT = 1 << 20, DAY = 24 * 3600 };

static struct digest sum_of(struct str name, struct str value)
{
	cleanup(hasher_free) struct hasher *h = hasher_new();
	struct digest of_name = digest_of(name.p, name.n);

	hasher_add(h, of_name.bytes, sizeof(of_name.bytes));
	hasher_add(h, value.p, value.n);
	return hasher_finish(h);
}

/* Whoever asks for it daily keeps it from being swept; one write a day is enough for that. */
static void keep_young(int dir, const char *file)
{
	struct stat st;

	if (fstatat(dir, file, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_mtime + DAY < time(NULL))
		(void)utimensat(dir, file, NULL, AT_SYMLINK_NOFOLLOW);
}

int layer_memo_get(
	const struct layer_store *store, struct str name, struct buf *ret, struct err *err)
{
	cleanup(buf_done) struct buf text = {0};
	char file[DIGEST_HEX_SIZE];
	struct digest of_name = digest_of(name.p, name.n), sum;
	struct err local = {0};

	if (store->places[PLACE_DIGESTS] < 0)
		return LAYER_E_ABSENT;
	int r = file_read(store->places[PLACE_DIGESTS], digest_hex(&of_name, file), MEMO_LIMIT,
		&text, &local);
	if (local.kind == ERR_MISSING)
		return LAYER_E_ABSENT;
	if (r < 0) {
		if (err)
			*err = local;
		return err_wrap(err, "memo");
	}
	struct str value = buf_str(&text);
	struct str line = str_cut(&value, '\n');
	if (!value.p || !digest_parse(line, &sum))
		return LAYER_E_ABSENT;
	struct digest real = sum_of(name, value);
	if (!digest_eq(&sum, &real))
		return LAYER_E_ABSENT;
	buf_add_str(ret, value);
	keep_young(store->places[PLACE_DIGESTS], file);
	return 0;
}

void memo_remove(const struct layer_store *store, struct str name)
{
	char file[DIGEST_HEX_SIZE];
	struct digest of_name = digest_of(name.p, name.n);

	(void)unlinkat(store->places[PLACE_DIGESTS], digest_hex(&of_name, file), 0);
}

static int write_memo(int dir, const char *file, struct str text, struct err *err)
{
	cleanup_close int fd =
		openat(dir, file, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0)
		return err_sys(err, "create memo");
	return file_write_fd(fd, text, err);
}

int layer_memo_put(struct layer_store *store, struct str name, struct str value, struct err *err)
{
	cleanup(buf_done) struct buf text = {0};
	char file[DIGEST_HEX_SIZE], sum_text[DIGEST_TEXT_SIZE], temp[NAME_SIZE];
	struct digest of_name = digest_of(name.p, name.n), sum = sum_of(name, value);
	int dir = store->places[PLACE_DIGESTS];

	if (value.n > MEMO_LIMIT - DIGEST_TEXT_SIZE)
		return err_set(err, ERR_LIMIT, "memo: larger than %d bytes", MEMO_LIMIT);
	buf_printf(&text, "%s\n", digest_text(&sum, sum_text));
	buf_add_str(&text, value);
	file_new_name(temp);
	int r = write_memo(dir, temp, buf_str(&text), err);
	if (r == 0 && renameat(dir, temp, dir, digest_hex(&of_name, file)) < 0)
		r = err_sys(err, "rename memo");
	if (r < 0)
		(void)unlinkat(dir, temp, 0); /* the first error is the one to tell */
	return r;
}
