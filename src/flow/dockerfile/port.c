/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>

#include "base/number.h"
#include "dockerfile/planner.h"

/*
 * EXPOSE: [[ip:]hostport:]port[-end][/protocol]. The part before the container's port is read
 * and forgotten, as Docker does; a range of it must be as long as the container's.
 */
struct range {
	uint64_t first, last;
};

static bool parse_range(struct str text, struct range *ret)
{
	struct str rest = text, first = str_cut(&rest, '-');

	if (!parse_u64(first, 65535, &ret->first))
		return false;
	ret->last = ret->first;
	return !rest.p || (parse_u64(rest, 65535, &ret->last) && ret->last >= ret->first);
}

static bool is_address(struct str text)
{
	char copy[INET6_ADDRSTRLEN + 1];
	unsigned char out[16];

	if (text.n > 2 && text.p[0] == '[' && text.p[text.n - 1] == ']')
		text = str_slice(text, 1, text.n - 1);
	if (text.n >= sizeof(copy))
		return false;
	memcpy(copy, text.p, text.n);
	copy[text.n] = '\0';
	return inet_pton(AF_INET, copy, out) == 1 || inet_pton(AF_INET6, copy, out) == 1;
}

/* Cut "ip:hostport:" off the front; false when it is malformed. */
static bool skip_host(struct str *text, const struct range *ports)
{
	size_t colon = str_rfind(*text, ':');
	struct range host;

	if (colon == text->n)
		return true;
	struct str before = str_slice(*text, 0, colon);
	size_t second = str_rfind(before, ':');
	struct str host_port = second < before.n ? str_from_index(before, second + 1) : before;
	struct str ip = second < before.n ? str_slice(before, 0, second) : (struct str){0};
	*text = str_from_index(*text, colon + 1);
	if (ip.n && !is_address(ip))
		return false;
	if (!host_port.n)
		return true;
	return parse_range(host_port, &host) &&
	       (ports->first == ports->last ||
		       host.last - host.first == ports->last - ports->first);
}

static const char *protocol_of(struct str text)
{
	static const char *const known[] = {"tcp", "udp", "sctp"};

	if (!text.n)
		return "tcp";
	for (size_t i = 0; i < array_size(known); i++)
		if (str_eq_nocase(text, str_of(known[i])))
			return known[i];
	return NULL;
}

static int add_ports(struct planner *p, const struct command *c, struct span span, struct str text,
	struct oci_list *ports, struct err *err)
{
	size_t colon = str_rfind(text, ':');
	struct str container = colon < text.n ? str_from_index(text, colon + 1) : text;
	struct str protocol = container, numbers = str_cut(&protocol, '/');
	const char *name = protocol_of(protocol);
	struct range range;
	struct str rest = text;

	if (!parse_range(numbers, &range) || !name || !skip_host(&rest, &range))
		return command_error(err, ERR_INPUT, c, span,
			"%.*s is not a port: 7860, 8000-8010 or 53/udp", STR_ARG(text));
	for (uint64_t n = range.first; n <= range.last; n++)
		oci_list_add(p->arena, ports,
			str_of(arena_printf(p->arena, "%u/%s", (unsigned)n, name)));
	return 0;
}

static int compare_words(const void *a, const void *b)
{
	const struct word *x = a, *y = b;

	return str_cmp(x->text, y->text);
}

/* The words are sorted before anything else is done with them, and so is the history. */
static struct word *sorted_words(struct planner *p, const struct instruction *ins)
{
	struct word *words = arena_array(p->arena, ins->word_count, sizeof(*words));

	memcpy(words, ins->words, ins->word_count * sizeof(*words));
	qsort(words, ins->word_count, sizeof(*words), compare_words);
	return words;
}

int config_expose(struct planner *p, size_t stage, const struct command *c, struct plan_op *op,
	struct err *err)
{
	cleanup(buf_done) struct buf text = {0};
	struct draft *d = &p->drafts[stage];
	struct expansion how = {p->file->escape, 0, table_get, &d->env};
	struct word *words = sorted_words(p, c->ins);
	struct oci_list ports = {0};
	struct err why = {0};
	struct str *parts;
	size_t count;

	for (size_t i = 0; i < c->ins->word_count; i++) {
		struct span span = words[i].span;
		if (expand_words(p->arena, &how, words[i].text, &parts, &count, &why))
			return command_error(err, why.kind, c, span, "%s", why.text);
		for (size_t k = 0; k < count; k++) {
			int failed = add_ports(p, c, span, parts[k], &ports, err);
			if (failed)
				return failed;
		}
		if (ports.count > (size_t)3 * 65536)
			return command_error(err, ERR_LIMIT, c, span, "too many ports");
	}
	table_add_names(p->arena, &d->ports, &ports);
	op->arguments = ports;
	buf_add_text(&text, "EXPOSE ");
	print_list(&text, &ports, false);
	op->created_by = arena_strdup(p->arena, buf_text(&text));
	return 0;
}

/* ---- STOPSIGNAL ---- */

static const char *const signals[] = {"ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP",
	"ILL", "INT", "IO", "IOT", "KILL", "PIPE", "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT",
	"STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU", "URG", "USR1", "USR2", "VTALRM",
	"WINCH", "XCPU", "XFSZ"};

/* RTMIN, RTMIN+1 … RTMIN+15, RTMAX-14 … RTMAX-1, RTMAX */
static bool is_realtime(struct str name)
{
	bool from_max = str_starts(name, STR("RTMAX"));
	struct str rest = str_from_index(name, strlen("RTMIN"));
	uint64_t n;

	if (!from_max && !str_starts(name, STR("RTMIN")))
		return false;
	return !rest.n || (rest.p[0] == (from_max ? '-' : '+') &&
				  parse_u64(str_from_index(rest, 1), from_max ? 14 : 15, &n) && n);
}

static char upper_case(char c)
{
	return (char)(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
}

static bool is_signal(struct str text)
{
	cleanup(buf_done) struct buf upper = {0};
	uint64_t n;

	if (parse_u64(text, 64, &n))
		return n > 0;
	for (size_t i = 0; i < text.n; i++)
		buf_add_char(&upper, upper_case(text.p[i]));
	struct str name = buf_str(&upper);
	if (str_starts(name, STR("SIG")))
		name = str_from_index(name, 3);
	for (size_t i = 0; i < array_size(signals); i++)
		if (str_is(name, signals[i]))
			return true;
	return is_realtime(name);
}

int config_stopsignal(struct planner *p, size_t stage, const struct command *c, struct plan_op *op,
	struct err *err)
{
	struct word word = c->ins->words[0];
	struct str text;
	int failed = command_expand(p, &p->drafts[stage], c, word, &text, err);

	if (failed)
		return failed;
	if (!is_signal(text))
		return command_error(err, ERR_INPUT, c, word.span,
			"%.*s is not a signal: SIGINT, term or 15", STR_ARG(text));
	p->plan->stages[stage].config.stop_signal = text.p;
	oci_list_add(p->arena, &op->arguments, text);
	op->created_by = arena_printf(p->arena, "STOPSIGNAL %s", text.p);
	return 0;
}
