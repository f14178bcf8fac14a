/* SPDX-License-Identifier: Apache-2.0 */
#include "image/test_registry.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>
#define ZLIB_CONST
#include <zlib.h>
#include <zstd.h>

#include "base/err.h"
#include "os/file.h"

#define OCI "application/vnd.oci.image."

/* ---- Content ---- */

static void add_gzip(struct buf *to, struct str text)
{
	z_stream z = {0};
	size_t room = text.n + text.n / 100 + 1000;

	if (deflateInit2(&z, 1, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY) != Z_OK)
		abort();
	z.next_in = (const Bytef *)text.p;
	z.avail_in = (uInt)text.n;
	z.next_out = (Bytef *)buf_reserve(to, room);
	z.avail_out = (uInt)room;
	if (deflate(&z, Z_FINISH) != Z_STREAM_END)
		abort();
	buf_commit(to, z.total_out);
	deflateEnd(&z);
}

static void add_zstd(struct buf *to, struct str text)
{
	size_t room = ZSTD_compressBound(text.n);
	size_t n = ZSTD_compress(buf_reserve(to, room), room, text.p, text.n, 1);

	if (ZSTD_isError(n))
		abort();
	buf_commit(to, n);
}

static void make_tar(struct buf *to, unsigned seed, size_t n)
{
	while (to->len < n)
		buf_printf(to, "%u ", seed = seed * 1103515245 + 12345);
}

static void name_blob(struct fake_blob *blob)
{
	struct digest digest = digest_of(blob->data.data, blob->data.len);

	(void)digest_text(&digest, blob->digest);
}

static void make_layers(struct fake *f)
{
	static const size_t sizes[FAKE_LAYERS] = {3000, 2000000, 1500000, 3000};

	for (unsigned i = 0; i < FAKE_LAYERS; i++) {
		struct buf *tar = &f->tars[i];
		make_tar(tar, i % 3 + 1, sizes[i]);
		f->diff_ids[i] = digest_of(tar->data, tar->len);
		if (i == 1) {
			add_gzip(&f->layers[i].data, str_slice(buf_str(tar), 0, tar->len / 2));
			add_gzip(&f->layers[i].data, str_from_index(buf_str(tar), tar->len / 2));
		} else if (i == 2) {
			add_zstd(&f->layers[i].data, buf_str(tar));
		} else {
			buf_add_str(&f->layers[i].data, buf_str(tar));
		}
		name_blob(&f->layers[i]);
	}
}

static void make_config(struct fake *f, struct fake_blob *blob, size_t layers, bool is_wrong)
{
	char text[DIGEST_TEXT_SIZE];
	struct oci_platform host = oci_platform_host();

	buf_printf(&blob->data,
		"{\"architecture\":\"%s\",\"os\":\"linux\",\"config\":{\"Env\":[\"A=1\"]},"
		"\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[",
		host.architecture);
	for (size_t i = 0; i < layers; i++)
		buf_printf(&blob->data, "%s\"%s\"", i ? "," : "",
			digest_text(&f->diff_ids[is_wrong && i == 1 ? 2 : i], text));
	buf_add_text(&blob->data, "]}}");
	name_blob(blob);
}

static const char *layer_type(size_t i)
{
	if (i == 1)
		return OCI "layer.v1.tar+gzip";
	return i == 2 ? OCI "layer.v1.tar+zstd" : OCI "layer.v1.tar";
}

static void make_manifest(struct fake *f, const struct fake_blob *config, struct buf *ret)
{
	buf_printf(ret,
		"{\"schemaVersion\":2,\"mediaType\":\"" OCI "manifest.v1+json\",\"config\":"
		"{\"mediaType\":\"" OCI "config.v1+json\",\"size\":%zu,\"digest\":\"%s\"},"
		"\"layers\":[",
		config->data.len, config->digest);
	for (size_t i = 0; i < FAKE_LAYERS; i++)
		buf_printf(ret, "%s{\"mediaType\":\"%s\",\"size\":%zu,\"digest\":\"%s\"}",
			i ? "," : "", layer_type(i), f->layers[i].data.len, f->layers[i].digest);
	buf_add_text(ret, "]}");
}

static void make_index(struct fake *f, struct fake_blob *ret, const char *architecture)
{
	buf_printf(&ret->data,
		"{\"schemaVersion\":2,\"mediaType\":\"" OCI "index.v1+json\",\"manifests\":["
		"{\"mediaType\":\"" OCI "manifest.v1+json\",\"size\":9,\"digest\":\"%s\","
		"\"platform\":{\"os\":\"unknown\",\"architecture\":\"unknown\"}},"
		"{\"mediaType\":\"" OCI "manifest.v1+json\",\"size\":%zu,\"digest\":\"%s\","
		"\"platform\":{\"os\":\"linux\",\"architecture\":\"%s\"}}]}",
		f->config.digest, f->manifest.data.len, f->manifest.digest, architecture);
	name_blob(ret);
}

/* ---- Serving ---- */

static void add_header(struct test_reply *reply, const char *name, const char *value)
{
	buf_printf(&reply->headers, "%s: %s\r\n", name, value);
}

static void send_document(struct test_reply *reply, const struct fake_blob *blob, const char *type)
{
	add_header(reply, "Content-Type", type);
	add_header(reply, "Docker-Content-Digest", blob->digest);
	buf_add_str(&reply->body, buf_str(&blob->data));
}

static void serve_failed(struct test_reply *reply, int status, const char *message)
{
	reply->status = status;
	buf_printf(&reply->body, "{\"errors\":[{\"code\":\"X\",\"message\":\"%s\"}]}", message);
}

static void serve_tag(struct fake *f, struct test_reply *reply)
{
	static const char index_type[] = OCI "index.v1+json";
	struct fake_blob other = f->manifest;

	switch ((int)f->state->mode) {
	case FAKE_OTHER_PLATFORM:
		send_document(reply, &f->other_index, index_type);
		break;
	case FAKE_WRONG_TYPE:
		send_document(reply, &f->manifest, index_type);
		break;
	case FAKE_WRONG_DIGEST:
		memcpy(other.digest, f->config.digest, sizeof(other.digest));
		send_document(reply, &other, OCI "manifest.v1+json");
		break;
	case FAKE_HUGE:
		add_header(reply, "Content-Type", OCI "manifest.v1+json");
		while (reply->body.len < 5 << 20)
			buf_add_text(&reply->body, "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[");
		break;
	case FAKE_HTML:
		add_header(reply, "Content-Type", "text/html");
		buf_add_text(&reply->body, "<html>Please accept our terms</html>");
		break;
	case FAKE_NOT_FOUND:
		serve_failed(reply, 404, "manifest unknown");
		break;
	case FAKE_TOO_MANY:
		serve_failed(reply, 429, "You have reached your pull rate limit");
		break;
	case FAKE_BROKEN:
		serve_failed(reply, 503, "be right back");
		break;
	default:
		send_document(reply, &f->index, index_type);
	}
}

/* The manifest as this mode has it: some have another configuration. */
static bool serve_variant(struct fake *f, struct test_reply *reply)
{
	const struct fake_blob *config = NULL;

	if (f->state->mode == FAKE_WRONG_DIFF_ID)
		config = &f->wrong_config;
	if (f->state->mode == FAKE_FEWER_LAYERS)
		config = &f->fewer_config;
	if (!config)
		return false;
	add_header(reply, "Content-Type", OCI "manifest.v1+json");
	make_manifest(f, config, &reply->body);
	return true;
}

static void serve_manifest(struct fake *f, const char *name, struct test_reply *reply)
{
	f->state->manifests++;
	if (strcmp(name, "v1") == 0 && serve_variant(f, reply))
		return;
	if (f->state->mode == FAKE_DAMAGED && strcmp(name, "v1") == 0) {
		/* Layer 2 under the digest of layer 3, whose bytes are zstd. */
		struct fake_blob good = f->layers[1];
		f->layers[1] = f->layers[2];
		add_header(reply, "Content-Type", OCI "manifest.v1+json");
		make_manifest(f, &f->config, &reply->body);
		f->layers[1] = good;
		return;
	}
	if (strcmp(name, "v1") == 0)
		serve_tag(f, reply);
	else if (strcmp(name, f->index.digest) == 0)
		send_document(reply, &f->index, OCI "index.v1+json");
	else if (strcmp(name, f->manifest.digest) == 0 || strcmp(name, f->config.digest) == 0)
		/* For the second: not what was asked for. */
		send_document(reply, &f->manifest, OCI "manifest.v1+json");
	else
		serve_failed(reply, 404, "manifest unknown");
}

static void misbehave(struct fake *f, size_t layer, struct test_reply *reply, bool is_first)
{
	size_t n = reply->body.len;

	switch ((int)f->state->mode) {
	case FAKE_CUT_ONCE:
	case FAKE_CUT_NO_RANGE:
		reply->cut_after = is_first ? n / 2 : 0;
		reply->no_range = f->state->mode == FAKE_CUT_NO_RANGE;
		break;
	case FAKE_CUT_ALWAYS:
		reply->cut_after = n / 10;
		break;
	case FAKE_SHORT:
		reply->body.len = n / 2;
		break;
	case FAKE_LONG:
		buf_add_text(&reply->body, "and more");
		break;
	case FAKE_WRONG_BYTES:
		if (layer == 1)
			reply->body.data[n / 2] ^= 1;
		break;
	case FAKE_SLOW:
		reply->is_silent = true;
		break;
	default:
		break;
	}
}

static void serve_blob(
	struct fake *f, const struct test_request *request, const char *name, struct test_reply *r)
{
	const struct fake_blob *configs[] = {&f->config, &f->wrong_config, &f->fewer_config};

	f->state->blobs++;
	f->state->ranges += request->has_range;
	f->state->last_from = request->from;
	for (size_t i = 0; i < array_size(configs); i++) {
		if (strcmp(name, configs[i]->digest) != 0)
			continue;
		f->state->served[FAKE_LAYERS]++;
		buf_add_str(&r->body, buf_str(&configs[i]->data));
		return;
	}
	for (size_t i = 0; i < FAKE_LAYERS; i++) {
		if (strcmp(name, f->layers[i].digest) != 0)
			continue;
		buf_add_str(&r->body, buf_str(&f->layers[i].data));
		misbehave(f, i, r, f->state->served[i]++ == 0);
		return;
	}
	serve_failed(r, 404, "blob unknown");
}

/* True if the request was answered with a challenge. */
static bool is_stranger(struct fake *f, const struct test_request *request, struct test_reply *r)
{
	bool is_token = f->state->mode == FAKE_TOKEN || f->state->mode == FAKE_TOKEN_EXPIRES;

	if (is_token && strcmp(request->authorization, "Bearer good") == 0 &&
		(f->state->mode != FAKE_TOKEN_EXPIRES || f->state->uses++ < 2))
		return false;
	if (f->state->mode == FAKE_BASIC &&
		strcmp(request->authorization, "Basic bWU6c2VjcmV0") == 0)
		return false;
	if (!is_token && f->state->mode != FAKE_BASIC)
		return false;
	if (is_token)
		buf_printf(&r->headers,
			"WWW-Authenticate: Bearer realm=\"%s/token\",service=\"the service\","
			"scope=\"repository:everything:push\"\r\n",
			f->server.url);
	else
		add_header(r, "WWW-Authenticate", "Basic realm=\"x\"");
	serve_failed(r, 401, "authentication required");
	return true;
}

static void serve_token(struct fake *f, const struct test_request *request, struct test_reply *r)
{
	bool is_known = strcmp(request->authorization, "Basic bWU6c2VjcmV0") == 0 ||
			strstr(request->body, "refresh_token=refresh");

	f->state->tokens++;
	f->state->uses = 0;
	snprintf(f->state->last_scope, sizeof(f->state->last_scope), "%.255s", request->path);
	snprintf(f->state->last_form, sizeof(f->state->last_form), "%.2047s", request->body);
	if (is_known)
		buf_add_text(&r->body, "{\"token\":\"good\",\"expires_in\":60}");
	else
		serve_failed(r, 401, "who are you");
}

static void handle(void *arg, const struct test_request *request, struct test_reply *reply)
{
	struct fake *f = arg;
	const char *path = request->path;

	if (strncmp(path, "/token", 6) == 0) {
		serve_token(f, request, reply);
		return;
	}
	if (is_stranger(f, request, reply))
		return;
	/* As a mirror it has a prefix before it. */
	const char *kind = strstr(path, "/team/app/");
	kind = kind ? kind + strlen("/team/app/") : "";
	if (strncmp(kind, "manifests/", 10) == 0) {
		serve_manifest(f, kind + 10, reply);
	} else if (strncmp(kind, "blobs/", 6) == 0 && f->state->mode == FAKE_REDIRECT) {
		reply->status = 307;
		buf_printf(&reply->headers, "Location: %s%s?signature=x\r\n", f->other.url,
			request->path);
	} else if (strncmp(kind, "blobs/", 6) == 0) {
		serve_blob(f, request, kind + 6, reply);
	} else {
		serve_failed(reply, 404, "name unknown");
	}
}

static void handle_other(void *arg, const struct test_request *request, struct test_reply *reply)
{
	struct fake *f = arg;
	char path[sizeof(request->path)];

	snprintf(path, sizeof(path), "%s", request->path);
	path[strcspn(path, "?")] = '\0';
	if (request->authorization[0])
		snprintf(f->state->leaked, sizeof(f->state->leaked), "%.500s",
			request->authorization);
	serve_blob(f, request, strrchr(path, '/') + 1, reply);
}

void fake_make(struct fake *f)
{
	*f = (struct fake){.state = test_shared(sizeof(*f->state))};
	make_layers(f);
	make_config(f, &f->config, FAKE_LAYERS, false);
	make_config(f, &f->wrong_config, FAKE_LAYERS, true);
	make_config(f, &f->fewer_config, FAKE_LAYERS - 1, false);
	make_manifest(f, &f->config, &f->manifest.data);
	name_blob(&f->manifest);
	make_index(f, &f->index, oci_platform_host().architecture);
	make_index(f, &f->other_index, "z80");
}

void fake_start(struct fake *f, bool tls)
{
	fake_make(f);
	test_server_start(&f->other, false, handle_other, f);
	test_server_start(&f->server, tls, handle, f);
	snprintf(f->reference, sizeof(f->reference), "127.0.0.1:%d/team/app:v1", f->server.port);
}

void fake_stop(struct fake *f)
{
	struct fake_blob *blobs[] = {&f->config, &f->wrong_config, &f->fewer_config, &f->manifest,
		&f->index, &f->other_index};

	test_server_stop(&f->server);
	test_server_stop(&f->other);
	for (size_t i = 0; i < array_size(blobs); i++)
		buf_done(&blobs[i]->data);
	for (size_t i = 0; i < FAKE_LAYERS; i++) {
		buf_done(&f->layers[i].data);
		buf_done(&f->tars[i]);
	}
}

void fake_reset(struct fake *f, enum fake_mode mode)
{
	*f->state = (struct fake_state){.mode = mode};
}

/* ---- The sink ---- */

static void sink_key(void *arg, const struct digest *diff_id, struct buf *ret)
{
	char hex[DIGEST_HEX_SIZE];

	(void)arg;
	buf_printf(ret, "key-%.8s", digest_hex(diff_id, hex));
}

static bool sink_has(void *arg, const struct digest *diff_id)
{
	const struct test_sink *sink = arg;
	char hex[DIGEST_HEX_SIZE];

	return faccessat(sink->dir, digest_hex(diff_id, hex), F_OK, 0) == 0;
}

static int drain(int from, int to, struct err *err)
{
	char data[65536];
	ssize_t n;

	while ((n = read(from, data, sizeof(data))) > 0) {
		int r = file_write_fd(to, str_from(data, (size_t)n), err);
		if (r < 0)
			return r;
	}
	return n < 0 ? err_sys(err, "read layer") : 0;
}

static int sink_unpack(
	void *arg, const struct digest *diff_id, struct image_stream *stream, struct err *err)
{
	const struct test_sink *sink = arg;
	char hex[DIGEST_HEX_SIZE], draft[DIGEST_HEX_SIZE + 8];
	char first[100];

	if (sink->mode == SINK_REFUSES && read(image_stream_fd(stream), first, 1) >= 0) {
		(void)err_set(err, ERR_LIMIT, "entry ../x is refused");
		return image_stream_blame(stream, err);
	}
	if (sink->mode == SINK_DIES)
		raise(SIGKILL);
	if (sink->mode == SINK_SLOW)
		sleep(30);
	(void)digest_hex(diff_id, hex);
	snprintf(draft, sizeof(draft), "%s.draft", hex);
	cleanup_close int fd =
		openat(sink->dir, draft, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	int r = drain(image_stream_fd(stream), fd, err);
	if (r == 0)
		r = image_stream_verified(stream, err);
	if (r == 0 && renameat(sink->dir, draft, sink->dir, hex) < 0)
		r = err_sys(err, "publish");
	if (r < 0)
		unlinkat(sink->dir, draft, 0);
	return r;
}

struct image_layer_sink test_sink_of(struct test_sink *sink)
{
	return (struct image_layer_sink){
		.key = sink_key, .has = sink_has, .unpack = sink_unpack, .arg = sink};
}
