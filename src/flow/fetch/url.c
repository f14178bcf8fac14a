/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/number.h"
#include "fetch/internal.h"
#include "net/net.h"
#include "os/clock.h"
#include "os/file.h"

enum { RECORD_MAX = 16 << 10, TRIES = 3, PROGRESS_MS = 100 };

/* A file on its way. */
struct download {
	int dir;
	const struct fetch_options *options;
	char name[40];
	int fd;
	struct hasher *hasher;
	uint64_t size, total;
	int64_t told;
};

static void download_done(struct download *d)
{
	if (d->fd >= 0) {
		close(d->fd);
		(void)unlinkat(d->dir, d->name, 0); /* it has its own name by now, or nobody's */
	}
	if (d->hasher)
		hasher_free(d->hasher);
}
DEFINE_CLEANUP_VALUE(struct download, download_done);

static int download_begin(struct download *d, struct err *err)
{
	kept_temporary(d->name);
	d->hasher = hasher_new();
	d->fd = openat(d->dir, d->name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	return d->fd < 0 ? err_sys(err, "make a file for the download") : 0;
}

static int take_piece(void *arg, const struct net_response *r, struct str piece, struct err *err)
{
	struct download *d = arg;
	const char *length = net_header(r, "Content-Length", 0);
	int64_t now = clock_now();

	if (!length || !parse_u64(str_of(length), UINT64_MAX, &d->total))
		d->total = 0;
	hasher_add(d->hasher, piece.p, piece.n);
	d->size += piece.n;
	if (d->options->progress && now - d->told > PROGRESS_MS * INT64_C(1000000)) {
		d->told = now;
		d->options->progress(d->options->arg, d->size, d->total);
	}
	return file_write_fd(d->fd, piece, err);
}

/* ---- Requests ---- */

static void set_variable(const char *name, const char *value)
{
	if (value && *value)
		(void)setenv(name, value, 1); /* fails for lack of memory only */
	else
		(void)unsetenv(name);
}

/* libcurl reads them from the environment. */
static void set_proxies(const struct fetch_options *o)
{
	set_variable("http_proxy", o->http_proxy);
	set_variable("https_proxy", o->https_proxy);
	set_variable("HTTPS_PROXY", o->https_proxy);
	set_variable("no_proxy", o->no_proxy);
	set_variable("NO_PROXY", o->no_proxy);
}

static bool is_worth_a_retry(int r, const struct net_response *response)
{
	return r < 0 ? response->may_retry : response->status >= 500 || response->status == 429;
}

/* Again, from the beginning, when the trouble may pass. */
static int request(struct download *d, const struct net_request *wanted,
	struct net_response *response, struct err *err)
{
	const struct net_options options = {
		.ca_bundle = d->options->ca_bundle, .user_agent = "spaceport"};
	cleanup(net_client_free) struct net_client *client = net_client_new(&options);
	int r;

	for (int try = 1;; try++) {
		(void)hasher_finish(d->hasher);
		d->size = 0;
		if (ftruncate(d->fd, 0) < 0 || lseek(d->fd, 0, SEEK_SET) < 0)
			return err_sys(err, "empty the file of the download");
		r = net_fetch(client, wanted, response, err);
		if (try == TRIES || !is_worth_a_retry(r, response))
			return r;
		net_response_done(response);
		sleep((unsigned)try);
	}
}

static int judge_status(const struct net_response *response, struct err *err)
{
	if (response->status == 200)
		return 0;
	(void)err_set(err, ERR_FAILED, "%s: the server answers with status %d",
		buf_text(&response->url), response->status);
	if (response->status == 401 || response->status == 403)
		return err_hint(err, "ADD has no credentials; fetch it in a RUN step that has a "
				     "secret mounted");
	return -ERR_FAILED;
}

/* ---- Keeping ---- */

static void set_times(int fd, int64_t mtime)
{
	const struct timespec times[] = {
		{.tv_nsec = UTIME_NOW}, {.tv_sec = mtime / 1000000000, .tv_nsec = 0}};

	(void)futimens(fd, times); /* the file is ours: this does not fail */
}

static int keep(struct download *d, const struct net_response *response, struct fetch_file *ret,
	struct err *err)
{
	const char *modified = net_header(response, "Last-Modified", 0);
	char hex[DIGEST_HEX_SIZE], path[sizeof(FETCH_FILES) + DIGEST_HEX_SIZE];
	int64_t seconds = 0;

	if (modified && !http_date_parse(str_trim(str_of(modified)), &seconds))
		seconds = 0;
	*ret = (struct fetch_file){
		.digest = hasher_finish(d->hasher), .size = d->size, .mtime = seconds * 1000000000};
	set_times(d->fd, ret->mtime);
	if (fsync(d->fd) < 0)
		return err_sys(err, "write the download");
	snprintf(path, sizeof(path), FETCH_FILES "/%s", digest_hex(&ret->digest, hex));
	if (renameat(d->dir, d->name, d->dir, path) < 0)
		return err_sys(err, "keep the download");
	return 0;
}

static void record_path(const char *url, char path[static 80])
{
	struct digest digest = digest_of(url, strlen(url));
	char hex[DIGEST_HEX_SIZE];

	snprintf(path, 80, FETCH_URLS "/%s", digest_hex(&digest, hex));
}

static void write_record(
	int dir, const char *url, const struct net_response *response, const struct digest *digest)
{
	cleanup(url_record_done) struct url_record record = {.digest = *digest};
	cleanup(buf_done) struct buf bytes = {0};
	const char *etag = net_header(response, "ETag", 0);
	const char *modified = net_header(response, "Last-Modified", 0);
	char path[80];

	buf_add_text(&record.etag, etag ? etag : "");
	buf_add_text(&record.last_modified, modified ? modified : "");
	url_record_print(&record, &bytes);
	record_path(url, path);
	/* Without it the next build fetches it again. */
	ignored(file_replace(dir, path, buf_str(&bytes), 0600, NULL));
}

/* What is kept of the URL, as far as its bytes are still here. */
static bool find_record(int dir, const char *url, struct url_record *ret, struct fetch_file *file)
{
	cleanup(buf_done) struct buf bytes = {0};
	cleanup_close int fd = -1;
	char path[80];

	record_path(url, path);
	return file_read(dir, path, RECORD_MAX, &bytes, NULL) == 0 &&
	       url_record_parse(buf_str(&bytes), ret) &&
	       fetch_find(dir, &ret->digest, file, &fd, NULL) == 0;
}

/* ---- All ---- */

/* What came has to be what the Dockerfile says. */
static int check(const struct fetch_url *what, const struct fetch_file *got, struct err *err)
{
	char wanted[DIGEST_TEXT_SIZE], text[DIGEST_TEXT_SIZE];
	cleanup(buf_done) struct buf url = {0};

	if (!what->checksum || digest_eq(what->checksum, &got->digest))
		return 0;
	net_url_shown(what->url, &url);
	return err_set(err, ERR_FAILED, "%s: its checksum is %s, not %s", buf_text(&url),
		digest_text(&got->digest, text), digest_text(what->checksum, wanted));
}

static int fetch_anew(int dir, const struct fetch_options *options, const struct fetch_url *what,
	const struct url_record *known, struct fetch_file *ret, struct err *err)
{
	cleanup(download_done) struct download d = {.dir = dir, .options = options, .fd = -1};
	cleanup(net_response_done) struct net_response response = {0};
	const struct net_request wanted = {.url = what->url,
		.max_bytes = options->max_bytes ? options->max_bytes : UINT64_MAX,
		.if_none_match = known && known->etag.len ? known->etag.data : NULL,
		.if_modified_since =
			known && known->last_modified.len ? known->last_modified.data : NULL,
		.on_body = take_piece,
		.arg = &d};

	set_proxies(options);
	int r = download_begin(&d, err);
	if (r == 0)
		r = request(&d, &wanted, &response, err);
	if (r < 0 && known && err->kind == ERR_NETWORK && response.status == 0) {
		ret->is_stale = true;
		snprintf(ret->reason, sizeof(ret->reason), "%.255s", err->text);
		err_clear(err);
		return 0;
	}
	if (r < 0 || (known && response.status == 304))
		return r;
	r = judge_status(&response, err);
	if (r == 0)
		r = keep(&d, &response, ret, err);
	if (r == 0)
		write_record(dir, what->url, &response, &ret->digest);
	return r < 0 ? r : check(what, ret, err);
}

int fetch_url(int dir, const struct fetch_options *options, const struct fetch_url *what,
	struct fetch_file *ret, struct err *err)
{
	cleanup(url_record_done) struct url_record record = {0};
	cleanup_close int fd = -1;

	*ret = (struct fetch_file){0};
	if (what->checksum && !what->is_fresh) {
		int r = fetch_find(dir, what->checksum, ret, &fd, err);
		if (r != FETCH_E_ABSENT)
			return r;
	}
	bool is_known =
		!what->is_fresh && !what->checksum && find_record(dir, what->url, &record, ret);
	return fetch_anew(dir, options, what, is_known ? &record : NULL, ret, err);
}
