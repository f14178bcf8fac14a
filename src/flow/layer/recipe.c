/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The archive is read along with libarchive, which does not say where the bytes of an entry
 * lie: only as far as it takes to tell the content of ordinary files from everything else.
 * Where this reading and libarchive's do not agree, there is no recipe; nothing else is lost.
 */
#include "layer/recipe.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include <zstd.h>

#include "base/alloc.h"
#include "base/number.h"
#include "base/tar.h"
#include "os/file.h"

enum {
	LEVEL = 1,
	PENDING_MAX = 8 << 20, /* bytes that wait for a name */
	PAX_MAX = 1 << 20,     /* of one pax header, as libarchive has it */
	FLUSH_AT = 256 * 1024,
};

/* Headers, and what follows an archive: as much as that is an attack. */
#define LITERAL_LIMIT (UINT64_C(1) << 30)

enum state {
	IN_HEADER,
	IN_META, /* the content of a pax header or a GNU long name, and its padding */
	IN_FILE,
	IN_PADDING,
	IN_REST, /* behind the end */
};

/* Content that was passed over and is to be named. */
struct ref {
	size_t at; /* in the literal bytes */
	uint64_t size;
};

struct recipe {
	int fd;
	ZSTD_CCtx *zstd;
	char *out;
	size_t out_size;
	bool is_broken;
	enum state state;
	char block[TAR_BLOCK];
	size_t have;   /* bytes of the block */
	uint64_t left; /* bytes of what the state is about */
	size_t padding;
	unsigned zero_blocks;
	bool is_pax, has_size;
	uint64_t pax_left; /* bytes of the pax header without its padding */
	uint64_t pax_size; /* what it says of the entry that follows */
	struct buf pax;
	struct buf literal;
	size_t written; /* bytes of `literal` that are in the file */
	struct ref *refs;
	size_t ref_count, ref_next, ref_cap;
	uint64_t literals, total;
};

struct recipe *recipe_new(int fd)
{
	struct recipe *r = xcalloc(1, sizeof(*r));

	r->fd = fd;
	r->zstd = ZSTD_createCCtx();
	r->out_size = ZSTD_CStreamOutSize();
	r->out = xmalloc(r->out_size);
	if (!r->zstd ||
		ZSTD_isError(ZSTD_CCtx_setParameter(r->zstd, ZSTD_c_compressionLevel, LEVEL)) ||
		ZSTD_isError(ZSTD_CCtx_setParameter(r->zstd, ZSTD_c_checksumFlag, 1)))
		r->is_broken = true;
	return r;
}

void recipe_free(struct recipe *r)
{
	if (!r)
		return;
	ZSTD_freeCCtx(r->zstd);
	free(r->out);
	free(r->refs);
	buf_done(&r->pax);
	buf_done(&r->literal);
	free(r);
}

void recipe_break(struct recipe *r)
{
	r->is_broken = true;
	buf_clear(&r->literal);
	buf_clear(&r->pax);
}

/* ---- Records ---- */

static void compress(struct recipe *r, struct str bytes, ZSTD_EndDirective end)
{
	ZSTD_inBuffer in = {bytes.p, bytes.n, 0};
	struct err err = {0};
	size_t left;

	do {
		ZSTD_outBuffer out = {r->out, r->out_size, 0};
		left = ZSTD_compressStream2(r->zstd, &out, &in, end);
		if (ZSTD_isError(left) ||
			file_write_fd(r->fd, str_from(r->out, out.pos), &err) < 0) {
			recipe_break(r);
			return;
		}
	} while (in.pos < in.size || (end == ZSTD_e_end && left));
}

static void put_literal(struct recipe *r, struct str bytes)
{
	while (bytes.n && !r->is_broken) {
		cleanup(buf_done) struct buf record = {0};
		struct str piece = str_slice(bytes, 0, RECIPE_LITERAL_MAX);
		buf_add_char(&record, 'L');
		buf_add_u32(&record, (uint32_t)piece.n);
		compress(r, buf_str(&record), ZSTD_e_continue);
		if (!r->is_broken)
			compress(r, piece, ZSTD_e_continue);
		bytes = str_from_index(bytes, piece.n);
	}
}

static void put_file(struct recipe *r, struct str path, uint64_t size)
{
	cleanup(buf_done) struct buf record = {0};

	buf_add_char(&record, 'F');
	buf_add_u64(&record, size);
	buf_add_u32(&record, (uint32_t)path.n);
	buf_add_str(&record, path);
	compress(r, buf_str(&record), ZSTD_e_continue);
}

/* Write the literal bytes up to `end`. */
static void write_up_to(struct recipe *r, size_t end)
{
	put_literal(r, str_slice(buf_str(&r->literal), r->written, end));
	r->written = end;
	if (r->is_broken || r->ref_next < r->ref_count || r->written < r->literal.len)
		return;
	buf_clear(&r->literal);
	r->written = 0;
	r->ref_next = r->ref_count = 0;
}

static void add_literal(struct recipe *r, struct str bytes)
{
	r->literals += bytes.n;
	if (r->literals > LITERAL_LIMIT || r->literal.len - r->written + bytes.n > PENDING_MAX) {
		recipe_break(r);
		return;
	}
	buf_add_str(&r->literal, bytes);
	if (r->ref_next == r->ref_count && r->literal.len - r->written >= FLUSH_AT)
		write_up_to(r, r->literal.len);
}

void recipe_name(struct recipe *r, const char *path, uint64_t size)
{
	struct str text = str_of(path);

	if (r->is_broken)
		return;
	if (r->ref_next == r->ref_count || r->refs[r->ref_next].size != size ||
		text.n > RECIPE_PATH_MAX) {
		recipe_break(r);
		return;
	}
	const struct ref ref = r->refs[r->ref_next++];
	/* The record of the file stands between: nothing may be cleared before it. */
	put_literal(r, str_slice(buf_str(&r->literal), r->written, ref.at));
	if (r->is_broken)
		return;
	r->written = ref.at;
	put_file(r, text, size);
	if (!r->is_broken)
		write_up_to(r, r->ref_next < r->ref_count ? ref.at : r->literal.len);
}

/* ---- Headers ---- */

static bool parse_base256(const char *p, size_t n, uint64_t *ret)
{
	uint64_t value = (unsigned char)p[0] & 0x7f;

	for (size_t i = 1; i < n; i++) {
		if (value >> 48)
			return false;
		value = value << 8 | (unsigned char)p[i];
	}
	*ret = value;
	return true;
}

static bool parse_number(const char *p, size_t n, uint64_t *ret)
{
	if ((unsigned char)p[0] & 0x80)
		return parse_base256(p, n, ret);
	struct str text = str_from(p, strnlen(p, n));
	text = str_trim(text);
	*ret = 0;
	return text.n == 0 || parse_octal(text, UINT64_C(1) << 48, ret);
}

/* What a pax header says of the size: false when it is about what is not understood here. */
static bool read_pax(struct recipe *r)
{
	struct str rest = buf_str(&r->pax);

	while (rest.n) {
		struct str record = rest, digits = str_cut(&record, ' ');
		uint64_t length;
		if (!record.p || !parse_u64(digits, rest.n, &length) || length <= digits.n + 1)
			return false;
		struct str value = str_slice(rest, digits.n + 1, (size_t)length - 1);
		rest = str_from_index(rest, (size_t)length);
		if (str_starts(value, STR("GNU.sparse.")))
			return false;
		if (!str_starts(value, STR("size=")))
			continue;
		r->has_size = parse_u64(str_from_index(value, 5), UINT64_C(1) << 48, &r->pax_size);
		if (!r->has_size)
			return false;
	}
	return true;
}

static void begin_meta(struct recipe *r, uint64_t size, bool is_pax)
{
	r->is_pax = is_pax;
	if (is_pax && size > PAX_MAX) {
		recipe_break(r);
		return;
	}
	buf_clear(&r->pax);
	r->pax_left = is_pax ? size : 0;
	r->left = size + tar_padding(size);
	r->state = r->left ? IN_META : IN_HEADER;
}

static void begin_file(struct recipe *r, uint64_t size)
{
	r->refs = xgrow(r->refs, &r->ref_cap, r->ref_count + 1, sizeof(*r->refs));
	r->refs[r->ref_count++] = (struct ref){r->literal.len, size};
	r->left = size;
	r->padding = tar_padding(size);
	r->state = IN_FILE;
}

/* An entry of the archive itself. */
static void begin_entry(struct recipe *r, char type, uint64_t size)
{
	if (r->has_size)
		size = r->pax_size;
	r->has_size = false;
	switch (type) {
	case '\0':
	case '0':
	case '7':
		if (size)
			begin_file(r, size);
		return;
	case '2':
	case '3':
	case '4':
	case '5':
	case '6':
		return; /* a size here says nothing about bytes that follow */
	case '1':
		if (size == 0)
			return;
		break;
	default:
		break;
	}
	recipe_break(r);
}

static bool is_zero(const char *block)
{
	static const char zeros[TAR_BLOCK];

	return memcmp(block, zeros, TAR_BLOCK) == 0;
}

static void take_header(struct recipe *r)
{
	uint64_t size;
	char type = r->block[156];

	r->have = 0;
	if (is_zero(r->block)) {
		if (++r->zero_blocks == 2)
			r->state = IN_REST;
		return;
	}
	r->zero_blocks = 0;
	if (!parse_number(r->block + 124, 12, &size)) {
		recipe_break(r);
		return;
	}
	if (type == 'x' || type == 'g' || type == 'L' || type == 'K')
		begin_meta(r, size, type == 'x');
	else
		begin_entry(r, type, size);
}

/* ---- Bytes ---- */

static struct str head(struct str bytes, uint64_t most)
{
	return str_slice(bytes, 0, most < bytes.n ? (size_t)most : bytes.n);
}

static size_t take_block(struct recipe *r, struct str bytes)
{
	struct str piece = head(bytes, TAR_BLOCK - r->have);

	memcpy(r->block + r->have, piece.p, piece.n);
	r->have += piece.n;
	add_literal(r, piece);
	if (r->have == TAR_BLOCK && !r->is_broken)
		take_header(r);
	return piece.n;
}

static size_t take_meta(struct recipe *r, struct str bytes)
{
	struct str piece = head(bytes, r->left), pax = head(piece, r->pax_left);

	buf_add_str(&r->pax, pax);
	r->pax_left -= pax.n;
	add_literal(r, piece);
	r->left -= piece.n;
	if (r->left)
		return piece.n;
	r->state = IN_HEADER;
	if (r->is_pax && !r->is_broken && !read_pax(r))
		recipe_break(r);
	return piece.n;
}

static size_t take_file(struct recipe *r, struct str bytes)
{
	size_t n = head(bytes, r->left).n;

	r->left -= n;
	if (r->left == 0) {
		r->left = r->padding;
		r->state = r->left ? IN_PADDING : IN_HEADER;
	}
	return n;
}

static size_t take_padding(struct recipe *r, struct str bytes)
{
	struct str piece = head(bytes, r->left);

	add_literal(r, piece);
	r->left -= piece.n;
	if (r->left == 0)
		r->state = IN_HEADER;
	return piece.n;
}

static size_t take_rest(struct recipe *r, struct str bytes)
{
	struct str piece = head(bytes, FLUSH_AT);

	add_literal(r, piece);
	return piece.n;
}

void recipe_feed(struct recipe *r, struct str bytes)
{
	static size_t (*const takes[])(struct recipe * r, struct str bytes) = {
		[IN_HEADER] = take_block,
		[IN_META] = take_meta,
		[IN_FILE] = take_file,
		[IN_PADDING] = take_padding,
		[IN_REST] = take_rest,
	};

	r->total += bytes.n;
	while (bytes.n && !r->is_broken)
		bytes = str_from_index(bytes, takes[r->state](r, bytes));
}

bool recipe_finish(struct recipe *r)
{
	cleanup(buf_done) struct buf record = {0};

	if (!r->is_broken && (r->ref_next < r->ref_count || r->state == IN_FILE))
		recipe_break(r);
	if (!r->is_broken)
		write_up_to(r, r->literal.len);
	buf_add_char(&record, 'E');
	buf_add_u64(&record, r->total);
	if (!r->is_broken)
		compress(r, buf_str(&record), ZSTD_e_end);
	/* One that is cut is told by its missing end; this only saves the space. */
	if (r->is_broken && ftruncate(r->fd, 0) < 0)
		return false;
	return !r->is_broken;
}
