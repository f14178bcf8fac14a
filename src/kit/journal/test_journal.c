/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/buf.h"
#include "base/number.h"
#include "journal/internal.h"
#include "journal/journal.h"
#include "os/dir.h"

#define LIMIT (64u << 10)

struct place {
	char path[64];
	int fd;
};

static int place_new(void **state)
{
	static struct place p;

	memcpy(p.path, "/tmp/spaceport-journal-XXXXXX", sizeof("/tmp/spaceport-journal-XXXXXX"));
	if (!mkdtemp(p.path))
		return -1;
	p.fd = open(p.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*state = &p;
	return p.fd < 0 ? -1 : 0;
}

static int place_gone(void **state)
{
	struct place *p = *state;
	struct err err = {0};
	int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = dir_remove_tree(tmp, strrchr(p->path, '/') + 1, &err);

	close(tmp);
	close(p->fd);
	return r;
}

static struct journal *writer(struct place *p)
{
	struct journal *j = NULL;
	struct err err = {0};

	if (journal_open(p->fd, "log", LIMIT, &j, &err) < 0)
		fail_msg("%s", err.text);
	return j;
}

static struct journal_reader *reader(struct place *p, long tail)
{
	struct journal_reader *r = NULL;
	struct err err = {0};

	if (journal_reader_open(p->fd, "log", tail, &r, &err) < 0)
		fail_msg("%s", err.text);
	return r;
}

static void add(struct journal *j, enum journal_stream stream, const char *text)
{
	struct err err = {0};

	if (journal_add(j, stream, str_of(text), &err) < 0)
		fail_msg("%s", err.text);
}

/*
 * All lines there are, as text: "1:whole|", a piece that does not end "1:pie+|", one that
 * continues "1:+ce|".
 */
static void read_all(struct journal_reader *r, struct buf *ret)
{
	struct journal_line line;
	struct err err = {0};
	int result;

	while ((result = journal_reader_next(r, &line, &err)) == 0 ||
		(result == JOURNAL_E_END && journal_reader_rest(r, &line)))
		buf_printf(ret, "%d:%s%.*s%s|", (int)line.stream, line.continues ? "+" : "",
			STR_ARG(line.text), line.ends ? "" : "+");
	if (result < 0)
		fail_msg("%s", err.text);
}

static void assert_reads(struct place *p, long tail, const char *expected)
{
	cleanup(journal_reader_free) struct journal_reader *r = reader(p, tail);
	cleanup(buf_done) struct buf got = {0};

	read_all(r, &got);
	assert_string_equal(buf_text(&got), expected);
}

static void lines_are_put_together_for_each_stream(void **state)
{
	struct place *p = *state;
	cleanup(journal_free) struct journal *j = writer(p);

	assert_reads(p, -1, "");
	add(j, JOURNAL_STDOUT, "one\ntw");
	add(j, JOURNAL_STDERR, "oops: ");
	add(j, JOURNAL_STDOUT, "o\n\n");
	add(j, JOURNAL_STDERR, "no");
	assert_reads(p, -1, "1:one|1:two|1:|2:oops: no+|");
	add(j, JOURNAL_STDERR, "\n");
	assert_reads(p, -1, "1:one|1:two|1:|2:oops: no|");
}

static void a_tail_is_the_last_lines(void **state)
{
	struct place *p = *state;
	cleanup(journal_free) struct journal *j = writer(p);

	add(j, JOURNAL_STDOUT, "a\nb\nc\nd\n");
	assert_reads(p, 2, "1:c|1:d|");
	assert_reads(p, 100, "1:a|1:b|1:c|1:d|");
	assert_reads(p, 0, "");
	add(j, JOURNAL_STDOUT, "prompt> ");
	assert_reads(p, 2, "1:d|1:prompt> +|");
}

static void a_prompt_is_seen_and_goes_on(void **state)
{
	struct place *p = *state;
	cleanup(journal_free) struct journal *j = writer(p);
	cleanup(journal_reader_free) struct journal_reader *r = reader(p, -1);
	cleanup(buf_done) struct buf got = {0};

	add(j, JOURNAL_STDOUT, "name? ");
	read_all(r, &got);
	read_all(r, &got);
	add(j, JOURNAL_STDOUT, "ada\nnext\n");
	read_all(r, &got);
	assert_string_equal(buf_text(&got), "1:name? +|1:+ada|1:next|");
}

static void long_lines_come_in_pieces(void **state)
{
	struct place *p = *state;
	cleanup(journal_free) struct journal *j = writer(p);
	cleanup(journal_reader_free) struct journal_reader *r = reader(p, -1);
	cleanup(buf_done) struct buf line = {0};
	struct journal_line piece;
	struct err err = {0};

	for (size_t i = 0; i < JOURNAL_LINE_MAX + 5; i++)
		buf_add_char(&line, (char)('a' + i % 26));
	buf_add_char(&line, '\n');
	/* In odd parts, so that the cut falls inside a record. */
	for (size_t at = 0; at < line.len; at += 777)
		assert_int_equal(journal_add(j, JOURNAL_STDERR,
					 str_slice(buf_str(&line), at, at + 777), &err),
			0);
	assert_int_equal(journal_reader_next(r, &piece, &err), 0);
	assert_int_equal(piece.text.n, JOURNAL_LINE_MAX);
	assert_memory_equal(piece.text.p, line.data, JOURNAL_LINE_MAX);
	assert_false(piece.ends || piece.continues);
	assert_int_equal(journal_reader_next(r, &piece, &err), 0);
	assert_int_equal(piece.text.n, 5);
	assert_memory_equal(piece.text.p, line.data + JOURNAL_LINE_MAX, 5);
	assert_true(piece.ends && piece.continues);
	assert_int_equal(journal_reader_next(r, &piece, &err), JOURNAL_E_END);
}

static void bytes_pass_unchanged(void **state)
{
	struct place *p = *state;
	cleanup(journal_free) struct journal *j = writer(p);
	cleanup(journal_reader_free) struct journal_reader *r = reader(p, -1);
	struct journal_line line;
	struct err err = {0};
	static const char odd[] = "\0\xff\r\x1b[31m\xa7R\1\0";

	assert_int_equal(journal_add(j, JOURNAL_STDOUT, str_from(odd, sizeof(odd) - 1), &err), 0);
	add(j, JOURNAL_STDOUT, "\n");
	assert_int_equal(journal_reader_next(r, &line, &err), 0);
	assert_int_equal(line.text.n, sizeof(odd) - 1);
	assert_memory_equal(line.text.p, odd, sizeof(odd) - 1);
}

static void add_numbers(struct journal *j, unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++) {
		char text[32];
		snprintf(text, sizeof(text), "line %u\n", i);
		add(j, JOURNAL_STDOUT, text);
	}
}

static unsigned number_of(const struct journal_line *line)
{
	uint64_t n = 0;

	assert_true(str_starts(line->text, STR("line ")));
	assert_true(parse_u64(str_from_index(line->text, 5), UINT32_MAX, &n));
	return (unsigned)n;
}

static void size_stays_bounded(void **state)
{
	struct place *p = *state;
	cleanup(journal_free) struct journal *j = writer(p);
	cleanup(journal_reader_free) struct journal_reader *r = NULL;
	struct journal_line line;
	struct err err = {0};
	struct stat now, old;
	unsigned count = 0, last = 0;

	add_numbers(j, 0, 20000);
	assert_int_equal(fstatat(p->fd, "log", &now, 0), 0);
	assert_int_equal(fstatat(p->fd, "log.1", &old, 0), 0);
	assert_true(now.st_size <= LIMIT && old.st_size <= LIMIT);
	assert_int_equal(fstatat(p->fd, "log.new", &now, 0), -1);
	r = reader(p, -1);
	while (journal_reader_next(r, &line, &err) == 0) {
		if (count++)
			assert_int_equal(number_of(&line), last + 1);
		last = number_of(&line);
	}
	assert_int_equal(last, 19999);
	assert_true(count * 26 > LIMIT);
	assert_int_equal(journal_reader_lost(r), 0);
	assert_reads(p, 2, "1:line 19998|1:line 19999|");
}

static void followers_cross_files(void **state)
{
	struct place *p = *state;
	cleanup(journal_free) struct journal *j = writer(p);
	cleanup(journal_reader_free) struct journal_reader *r = reader(p, -1);
	struct journal_line line;
	struct err err = {0};
	unsigned next = 0;

	for (unsigned i = 0; i < 40; i++) {
		add_numbers(j, i * 500, (i + 1) * 500);
		while (journal_reader_next(r, &line, &err) == 0)
			assert_int_equal(number_of(&line), next++);
	}
	assert_int_equal(next, 20000);
	assert_int_equal(journal_reader_lost(r), 0);
}

static void slow_readers_know_what_they_missed(void **state)
{
	struct place *p = *state;
	cleanup(journal_free) struct journal *j = writer(p);
	cleanup(journal_reader_free) struct journal_reader *r = NULL;
	struct journal_line line;
	struct err err = {0};
	unsigned last = 0;

	add_numbers(j, 0, 10);
	r = reader(p, -1);
	assert_int_equal(journal_reader_next(r, &line, &err), 0);
	add_numbers(j, 10, 20000);
	while (journal_reader_next(r, &line, &err) == 0)
		last = number_of(&line);
	assert_int_equal(last, 19999);
	assert_true(journal_reader_lost(r) > 0);
}

/* What a crash leaves at the end: every length of a cut record, and garbage. */
static void torn_ends_are_invisible_and_repaired(void **state)
{
	struct place *p = *state;
	cleanup(buf_done) struct buf torn = {0};
	const struct journal_record record = {1, JOURNAL_STDOUT, STR("lost\n")};

	record_print(&torn, &record);
	for (size_t cut = 1; cut <= torn.len; cut++) {
		struct journal *j = writer(p);
		add(j, JOURNAL_STDOUT, "first\n");
		journal_free(j);
		int fd = openat(p->fd, "log", O_WRONLY | O_APPEND | O_CLOEXEC);
		/* The last round is zeroes, as a power cut leaves them. */
		if (cut == torn.len)
			memset(torn.data, 0, torn.len);
		assert_int_equal(write(fd, torn.data, cut), cut);
		close(fd);
		assert_reads(p, -1, "1:first|");
		cleanup(journal_reader_free) struct journal_reader *r = reader(p, -1);
		cleanup(buf_done) struct buf got = {0};
		read_all(r, &got);
		j = writer(p);
		add(j, JOURNAL_STDOUT, "second\n");
		read_all(r, &got);
		assert_string_equal(buf_text(&got), "1:first|1:second|");
		journal_free(j);
		assert_int_equal(unlinkat(p->fd, "log", 0), 0);
	}
}

static void a_crash_between_two_files_is_repaired(void **state)
{
	struct place *p = *state;
	struct journal *j = writer(p);

	add(j, JOURNAL_STDOUT, "old\n");
	journal_free(j);
	assert_int_equal(renameat(p->fd, "log", p->fd, "log.1"), 0);
	int fd = openat(p->fd, "log.new", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, "SPJ", 3), 3);
	close(fd);
	assert_reads(p, -1, "1:old|");
	j = writer(p);
	add(j, JOURNAL_STDOUT, "new\n");
	journal_free(j);
	assert_reads(p, -1, "1:old|1:new|");
}

static void other_files_are_refused(void **state)
{
	struct place *p = *state;
	struct journal_reader *r = NULL;
	struct err err = {0};
	int fd = openat(p->fd, "log", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_int_equal(write(fd, "hello, this is some text\n", 25), 25);
	close(fd);
	assert_int_equal(journal_reader_open(p->fd, "log", -1, &r, &err), -ERR_INPUT);
	assert_string_equal(err.text, "log is not a journal");
}

/* A full disk, as far as the writer can tell. */
static void a_failed_write_leaves_no_trace(void **state)
{
	struct place *p = *state;
	cleanup(journal_free) struct journal *j = writer(p);
	struct rlimit old, small = {0};
	struct err err = {0};

	signal(SIGXFSZ, SIG_IGN);
	add(j, JOURNAL_STDOUT, "before\n");
	getrlimit(RLIMIT_FSIZE, &old);
	small = old;
	small.rlim_cur = 60;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	int result = journal_add(j, JOURNAL_STDOUT, STR("this does not fit there\n"), &err);
	setrlimit(RLIMIT_FSIZE, &old);
	assert_int_equal(result, -ERR_SYSTEM);
	assert_int_equal(err.sys, EFBIG);
	add(j, JOURNAL_STDOUT, "after\n");
	assert_reads(p, -1, "1:before|1:after|");
}

static void watching_wakes_up(void **state)
{
	struct place *p = *state;
	cleanup(journal_reader_free) struct journal_reader *r = reader(p, -1);
	struct journal_line line;
	struct err err = {0};
	int fd, status, wakes = 0;
	unsigned next = 0;

	assert_int_equal(journal_reader_watch(r, &fd, &err), 0);
	assert_int_equal(journal_reader_next(r, &line, &err), JOURNAL_E_END);
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
	assert_int_equal(poll(&poll_fd, 1, 0), 0);
	pid_t pid = fork();
	if (pid == 0) {
		struct journal *j = writer(p);
		add_numbers(j, 0, 20000);
		journal_free(j);
		_exit(0);
	}
	/* Never a sleep without an event while something is there to read. */
	while (next < 20000 && poll(&poll_fd, 1, 30000) == 1) {
		wakes++;
		while (journal_reader_next(r, &line, &err) == 0) {
			unsigned n = number_of(&line);
			assert_true(n == next || (n > next && journal_reader_lost(r)));
			next = n + 1;
		}
	}
	assert_int_equal(next, 20000);
	assert_true(wakes > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void record_parse_refuses(void **state)
{
	static const struct {
		struct str bytes;
		int result;
	} rows[] = {
		{STR(""), JOURNAL_E_SHORT}, {STR("\xa7R\1"), JOURNAL_E_SHORT},
		{STR("\xa7R\1\0\1\0\0\0\0\0\0\0\0\0\0\0"), JOURNAL_E_SHORT},
		{STR("\xa7R\1\0\1\0\0\0\0\0\0\0\0\0\0\0a"), 0},
		{STR("\xa7R\3\0\1\0\0\0\0\0\0\0\0\0\0\0a"), JOURNAL_E_BAD},	    /* stream */
		{STR("\xa7R\1\1\1\0\0\0\0\0\0\0\0\0\0\0a"), JOURNAL_E_BAD},	    /* flags */
		{STR("\xa7R\1\0\0\0\0\0\0\0\0\0\0\0\0\0a"), JOURNAL_E_BAD},	    /* no bytes */
		{STR("\xa7R\1\0\1\x80\0\0\0\0\0\0\0\0\0\0a"), JOURNAL_E_BAD},	    /* too many */
		{STR("\xa7R\1\0\xff\xff\xff\xff\0\0\0\0\0\0\0\0a"), JOURNAL_E_BAD}, /* too many */
		{STR("\xa7S\1\0\1\0\0\0\0\0\0\0\0\0\0\0a"), JOURNAL_E_BAD},	    /* magic */
	};

	(void)state;
	for (size_t i = 0; i < array_size(rows); i++) {
		struct journal_record record;
		size_t size;
		assert_int_equal(
			journal_record_parse(rows[i].bytes, &record, &size), rows[i].result);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			lines_are_put_together_for_each_stream, place_new, place_gone),
		cmocka_unit_test_setup_teardown(a_tail_is_the_last_lines, place_new, place_gone),
		cmocka_unit_test_setup_teardown(
			a_prompt_is_seen_and_goes_on, place_new, place_gone),
		cmocka_unit_test_setup_teardown(long_lines_come_in_pieces, place_new, place_gone),
		cmocka_unit_test_setup_teardown(bytes_pass_unchanged, place_new, place_gone),
		cmocka_unit_test_setup_teardown(size_stays_bounded, place_new, place_gone),
		cmocka_unit_test_setup_teardown(followers_cross_files, place_new, place_gone),
		cmocka_unit_test_setup_teardown(
			slow_readers_know_what_they_missed, place_new, place_gone),
		cmocka_unit_test_setup_teardown(
			torn_ends_are_invisible_and_repaired, place_new, place_gone),
		cmocka_unit_test_setup_teardown(
			a_crash_between_two_files_is_repaired, place_new, place_gone),
		cmocka_unit_test_setup_teardown(other_files_are_refused, place_new, place_gone),
		cmocka_unit_test_setup_teardown(
			a_failed_write_leaves_no_trace, place_new, place_gone),
		cmocka_unit_test_setup_teardown(watching_wakes_up, place_new, place_gone),
		cmocka_unit_test(record_parse_refuses),
	};

	return cmocka_run_group_tests_name("journal", tests, NULL, NULL);
}
