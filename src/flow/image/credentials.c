/* SPDX-License-Identifier: Apache-2.0 */
#include "image/credentials.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "os/command.h"
#include "os/file.h"
#include "json/json.h"

enum {
	FILE_MAX_BYTES = 1 << 20,
	HELPER_MAX_BYTES = 256 << 10, /* cloud tokens are long */
	HELPER_SECONDS = 30,
};

/* Under which Docker Hub is filed; docker itself writes the first. */
static const char *const hub_names[] = {
	"https://index.docker.io/v1/", "index.docker.io", "docker.io", "registry-1.docker.io"};

/* ---- Texts ---- */

static const char *encode_base64(struct arena *a, struct str text)
{
	unsigned char *out = arena_alloc(a, (text.n + 2) / 3 * 4 + 1);

	EVP_EncodeBlock(out, (const unsigned char *)text.p, (int)text.n);
	return (const char *)out;
}

/* False for what is not base64, or not of a sensible length. */
static bool decode_base64(struct arena *a, struct str text, struct str *ret)
{
	size_t padding = 0;

	text = str_trim(text);
	if (text.n % 4 != 0 || text.n > HELPER_MAX_BYTES)
		return false;
	while (padding < 2 && padding < text.n && text.p[text.n - 1 - padding] == '=')
		padding++;
	unsigned char *out = arena_alloc(a, text.n / 4 * 3 + 1);
	int n = EVP_DecodeBlock(out, (const unsigned char *)text.p, (int)text.n);
	if (n < 0)
		return false;
	out[(size_t)n - padding] = '\0'; /* the padding decodes to zeros */
	*ret = str_from((const char *)out, (size_t)n - padding);
	return !memchr(out, '\0', ret->n);
}

const char *credentials_basic(struct arena *a, const struct credentials *c)
{
	const char *pair = arena_printf(a, "%s:%s", c->user, c->password);

	return arena_printf(a, "Basic %s", encode_base64(a, str_of(pair)));
}

/* "https://host/v1/" → "host", "quay.io/org" → "quay.io/org" */
static struct str plain_key(struct str key)
{
	static const struct str prefixes[] = {{"https://", 8}, {"http://", 7}};
	static const struct str suffixes[] = {{"/v1", 3}, {"/v2", 3}};

	for (size_t i = 0; i < array_size(prefixes); i++)
		if (str_starts(key, prefixes[i]))
			key = str_from_index(key, prefixes[i].n);
	while (key.n && key.p[key.n - 1] == '/')
		key = str_slice(key, 0, key.n - 1);
	for (size_t i = 0; i < array_size(suffixes); i++)
		if (str_ends(key, suffixes[i]))
			key = str_slice(key, 0, key.n - suffixes[i].n);
	return key;
}

/* How much of "registry/repository" an entry names; 0: it is for something else. */
static size_t match_length(struct str key, const char *registry, const char *repository)
{
	struct str host = str_of(registry), path = str_of(repository);

	if (strcmp(registry, "docker.io") == 0)
		for (size_t i = 0; i < array_size(hub_names); i++)
			if (str_eq(plain_key(key), plain_key(str_of(hub_names[i]))))
				return host.n;
	key = plain_key(key);
	if (!str_starts(key, host))
		return 0;
	if (key.n == host.n)
		return key.n;
	struct str rest = str_from_index(key, host.n + 1);
	if (key.p[host.n] != '/' || !str_starts(path, rest) ||
		(path.n > rest.n && path.p[rest.n] != '/'))
		return 0;
	return key.n;
}

static const struct json *best_entry(
	const struct json *entries, const char *registry, const char *repository)
{
	const struct json *best = NULL;
	size_t best_length = 0;

	for (size_t i = 0; i < json_count(entries); i++) {
		const struct json *entry = json_item(entries, i);
		size_t length = match_length(json_item_key(entry), registry, repository);
		if (length > best_length) {
			best_length = length;
			best = entry;
		}
	}
	return best;
}

/* ---- Helpers ---- */

static bool is_helper_name(const char *name)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789-_.";

	return name[0] && name[0] != '.' && !name[strspn(name, allowed)];
}

static int parse_answer(struct arena *a, struct str text, struct credentials *ret, struct err *err)
{
	const struct json *root = NULL;
	const char *user = "", *secret = "";
	int r = json_parse(a, text, HELPER_MAX_BYTES, &root, err);

	if (r == 0)
		r = json_opt_text(root, "Username", &user, err);
	if (r == 0)
		r = json_get_text(root, "Secret", &secret, err);
	if (r < 0)
		return r;
	/* So docker marks a secret that is no password. */
	bool is_token = strcmp(user, "<token>") == 0;
	*ret = (struct credentials){.user = is_token ? "" : user,
		.password = is_token ? "" : secret,
		.identity_token = is_token ? secret : ""};
	return 0;
}

static int run_helper(const char *program, const char *server, struct buf *ret_answer,
	int *ret_status, struct err *err)
{
	cleanup(command_done) struct command command = COMMAND_INIT;
	cleanup_close int question = memfd_create("server", MFD_CLOEXEC);
	cleanup_close int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);

	if (question < 0 || nowhere < 0)
		return err_sys(err, "start %s", program);
	int r = file_write_fd(question, str_of(server), err);
	if (r < 0)
		return r;
	if (lseek(question, 0, SEEK_SET) < 0)
		return err_sys(err, "start %s", program);
	argv_add_all(&command.argv, program, "get", (char *)NULL);
	command.inherit_env = true;
	command.die_with_parent = true;
	command.stdin_fd = question;
	command.stderr_fd = nowhere; /* chatter; its answers are on stdout */
	return command_capture(
		&command, HELPER_MAX_BYTES, HELPER_SECONDS, ret_answer, ret_status, err);
}

static int ask_helper(struct arena *a, const char *name, const char *server,
	struct credentials *ret, struct err *err)
{
	cleanup(buf_done) struct buf answer = {0};
	int status = 0;

	if (!is_helper_name(name))
		return err_set(err, ERR_INPUT, "%s is no credential helper's name", name);
	const char *program = arena_printf(a, "docker-credential-%s", name);
	int r = run_helper(program, server, &answer, &status, err);
	if (r == -ERR_MISSING) {
		(void)err_set(err, ERR_HOST, "credential helper %s is not installed", program);
		return err_hint(err, "install it, or remove it from the credentials file");
	}
	if (r < 0)
		return r;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		r = parse_answer(a, buf_str(&answer), ret, err);
		return r < 0 ? err_wrap(err, "answer of %s", program) : r;
	}
	/* The only words of this protocol that are no failure. */
	if (strstr(buf_text(&answer), "credentials not found"))
		return CREDENTIALS_E_NONE;
	return err_set(err, ERR_DENIED, "%s for %s: %.*s", program, server,
		STR_ARG(str_head(str_trim(buf_str(&answer)), 200)));
}

static int find_by_helper(struct arena *a, const struct json *root, const char *registry,
	struct credentials *ret, struct err *err)
{
	const struct json *helpers = NULL;
	const char *helper = NULL;
	const char *server = strcmp(registry, "docker.io") == 0 ? hub_names[0] : registry;
	int r = json_opt_object(root, "credHelpers", &helpers, err);

	if (r == 0)
		r = json_opt_text(root, "credsStore", &helper, err);
	if (r < 0)
		return r;
	const struct json *own = best_entry(helpers, registry, "");
	if (json_text(own))
		helper = json_text(own);
	if (!helper || !helper[0])
		return CREDENTIALS_E_NONE;
	return ask_helper(a, helper, server, ret, err);
}

/* ---- The file ---- */

static int read_entry(
	struct arena *a, const struct json *entry, struct credentials *ret, struct err *err)
{
	struct str auth = {0}, pair;
	struct credentials c = {"", "", ""};
	int r = json_opt_text(entry, "username", &c.user, err);

	if (r == 0)
		r = json_opt_text(entry, "password", &c.password, err);
	if (r == 0)
		r = json_opt_text(entry, "identitytoken", &c.identity_token, err);
	if (r == 0)
		r = json_opt_str(entry, "auth", &auth, err);
	if (r < 0)
		return r;
	if (auth.n) {
		if (!decode_base64(a, auth, &pair) || str_find(pair, ':') == pair.n)
			return json_error(json_find(entry, "auth"), err,
				"is not the base64 form of user:password");
		c.user = arena_str(a, str_cut(&pair, ':')).p;
		c.password = arena_str(a, pair).p;
	}
	if (!c.user[0] && !c.identity_token[0])
		return CREDENTIALS_E_NONE;
	*ret = c;
	return 0;
}

static int find(struct arena *a, const struct json *root, const char *registry,
	const char *repository, struct credentials *ret, struct err *err)
{
	const struct json *auths = NULL;
	int r = find_by_helper(a, root, registry, ret, err);

	if (r != CREDENTIALS_E_NONE)
		return r;
	r = json_opt_object(root, "auths", &auths, err);
	if (r < 0)
		return r;
	const struct json *entry = best_entry(auths, registry, repository);
	return entry ? read_entry(a, entry, ret, err) : CREDENTIALS_E_NONE;
}

int credentials_find(struct arena *a, const char *path, const char *registry,
	const char *repository, struct credentials *ret, struct err *err)
{
	cleanup(buf_done) struct buf text = {0};
	const struct json *root = NULL;
	int r = file_read(AT_FDCWD, path, FILE_MAX_BYTES, &text, err);

	if (r < 0)
		return err_wrap(err, "credentials");
	r = json_parse(a, buf_str(&text), FILE_MAX_BYTES, &root, err);
	if (r == 0)
		r = find(a, root, registry, repository, ret, err);
	return r < 0 ? err_wrap(err, "credentials %s", path) : r;
}
