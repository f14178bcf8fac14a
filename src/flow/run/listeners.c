/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <string.h>

#include "base/attr.h"
#include "run/diagnose.h"

/* ---- /proc/net/tcp ---- */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Exactly `digits` hexadecimal digits, at most eight. */
static bool parse_hex(struct str s, size_t digits, uint32_t *ret)
{
	*ret = 0;
	if (s.n != digits)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		int digit = hex_digit(s.p[i]);
		if (digit < 0)
			return false;
		*ret = *ret << 4 | (uint32_t)digit;
	}
	return true;
}

/*
 * "0100007F:1EB4": the address as words of 32 bits, each printed as the number that this
 * machine sees in the four bytes; then the port.
 */
static bool parse_endpoint(struct str text, bool is_v6, struct listener *ret)
{
	struct str rest = text, address = str_cut(&rest, ':');
	size_t words = is_v6 ? 4 : 1;
	uint32_t word, port;

	if (address.n != words * 8 || !parse_hex(rest, 4, &port))
		return false;
	for (size_t i = 0; i < words; i++) {
		if (!parse_hex(str_slice(address, i * 8, i * 8 + 8), 8, &word))
			return false;
		memcpy(ret->address + i * 4, &word, sizeof(word));
	}
	ret->is_v6 = is_v6;
	ret->port = (uint16_t)port;
	return true;
}

static struct str next_word(struct str *rest)
{
	struct str word = {0};

	while (rest->p && word.n == 0)
		word = str_cut(rest, ' ');
	return word;
}

size_t listeners_parse(
	struct str text, bool is_v6, size_t count, struct listener ret[static LISTENERS_MAX])
{
	static const struct str listening = {"0A", 2};

	while (text.p && count < LISTENERS_MAX) {
		struct str line = str_cut(&text, '\n');
		(void)next_word(&line); /* the slot's number */
		struct str local = next_word(&line);
		(void)next_word(&line); /* the peer: none */
		struct listener found = {0};
		if (str_eq(next_word(&line), listening) && parse_endpoint(local, is_v6, &found))
			ret[count++] = found;
	}
	return count;
}

/* ---- Words ---- */

/* Is a connection from outside the namespace possible? */
static bool is_reachable(const struct listener *l)
{
	static const unsigned char any[16], v4_in_v6[12] = {[10] = 0xff, [11] = 0xff};
	static const unsigned char loopback_v6[16] = {[15] = 1};

	if (!l->is_v6)
		return l->address[0] != 127;
	if (memcmp(l->address, v4_in_v6, sizeof(v4_in_v6)) == 0)
		return l->address[12] != 127;
	return memcmp(l->address, any, sizeof(any)) == 0 ||
	       memcmp(l->address, loopback_v6, sizeof(loopback_v6)) != 0;
}

static void print_listener(const struct listener *l, struct buf *ret)
{
	char text[INET6_ADDRSTRLEN] = "?";

	(void)inet_ntop(l->is_v6 ? AF_INET6 : AF_INET, l->address, text, sizeof(text));
	buf_printf(ret, l->is_v6 ? "[%s]:%u" : "%s:%u", text, l->port);
}

/* How the usual servers are told where to listen, known by what they print. '%' is the port. */
static const struct {
	const char *mark, *hint;
} servers[] = {
	{"Running on local URL",
		"Gradio: demo.launch(server_name=\"0.0.0.0\", server_port=%), or in the "
		"Dockerfile: ENV GRADIO_SERVER_NAME=0.0.0.0 GRADIO_SERVER_PORT=%"},
	{"Uvicorn running on", "Uvicorn: --host 0.0.0.0 --port %"},
	{"Streamlit app", "Streamlit: --server.address 0.0.0.0 --server.port %"},
	{"Listening at: http", "Gunicorn: --bind 0.0.0.0:%"},
	{" * Running on http", "Flask: app.run(host=\"0.0.0.0\", port=%), or flask run --host "
			       "0.0.0.0 --port %"},
	{"Starting development server at", "Django: manage.py runserver 0.0.0.0:%"},
	{"Jupyter Server", "Jupyter: --ip 0.0.0.0 --port %"},
	{"", "let the app listen on 0.0.0.0:%"},
};

static void hint_server(struct str tail, uint16_t app_port, struct buf *ret)
{
	size_t i = 0;

	while (servers[i].mark[0] &&
		(!tail.n || !memmem(tail.p, tail.n, servers[i].mark, strlen(servers[i].mark))))
		i++;
	for (const char *c = servers[i].hint; *c; c++)
		if (*c == '%')
			buf_printf(ret, "%u", app_port);
		else
			buf_add_char(ret, *c);
}

enum { SHOWN_MAX = 4 };

/* "127.0.0.1:8000, [::1]:8000": all, or those on one port. */
static void print_listeners(
	const struct listener *listeners, size_t count, uint16_t port, struct buf *ret)
{
	size_t shown = 0;

	for (size_t i = 0; i < count; i++) {
		if (port && listeners[i].port != port)
			continue;
		if (shown == SHOWN_MAX) {
			buf_add_text(ret, ", …");
			return;
		}
		if (shown++)
			buf_add_text(ret, ", ");
		print_listener(&listeners[i], ret);
	}
}

/* The one port that is reachable, 0 when there is none or more than one. */
static uint16_t single_port(const struct listener *listeners, size_t count)
{
	uint16_t port = 0;

	for (size_t i = 0; i < count; i++) {
		if (!is_reachable(&listeners[i]) || listeners[i].port == port)
			continue;
		if (port)
			return 0;
		port = listeners[i].port;
	}
	return port;
}

static enum listening judge(const struct listener *listeners, size_t count, uint16_t app_port)
{
	enum listening best = count ? LISTENS_ELSEWHERE : LISTENS_NOWHERE;

	for (size_t i = 0; i < count; i++) {
		if (listeners[i].port != app_port)
			continue;
		if (is_reachable(&listeners[i]))
			return LISTENS_RIGHT;
		best = LISTENS_LOOPBACK;
	}
	return best;
}

enum listening listeners_judge(const struct listener *listeners, size_t count, uint16_t app_port,
	struct str tail, struct buf *ret_words, struct buf *ret_hint)
{
	enum listening result = judge(listeners, count, app_port);
	uint16_t other = single_port(listeners, count);

	switch (result) {
	case LISTENS_NOWHERE:
		buf_add_text(ret_words, "nothing listens on any port");
		break;
	case LISTENS_RIGHT:
		buf_printf(ret_words, "port %u takes connections but gives no answer", app_port);
		return result;
	case LISTENS_LOOPBACK:
		buf_add_text(ret_words, "the app listens on ");
		print_listeners(listeners, count, app_port, ret_words);
		buf_add_text(ret_words, " only, which cannot be reached from outside");
		break;
	case LISTENS_ELSEWHERE:
		buf_add_text(ret_words, "the app listens on ");
		print_listeners(listeners, count, 0, ret_words);
		buf_printf(ret_words, ", not on port %u", app_port);
		if (other)
			buf_printf(ret_hint, "app_port: %u in README.md, or ", other);
		break;
	}
	hint_server(tail, app_port, ret_hint);
	return result;
}
