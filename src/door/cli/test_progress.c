/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "base/arena.h"
#include "base/attr.h"
#include "cli/progress.h"
#include "json/json.h"

#define MS INT64_C(1000000)

/* ---- A terminal of so many columns, as far as the live view uses one ---- */

enum { ROWS = 200, COLUMNS = 40 };

struct screen {
	char cells[ROWS][COLUMNS + 1];
	size_t row, column;
};

static void screen_clear_below(struct screen *s)
{
	memset(s->cells[s->row] + s->column, 0, COLUMNS - s->column);
	for (size_t i = s->row + 1; i < ROWS; i++)
		memset(s->cells[i], 0, COLUMNS);
}

/* The sequence after ESC [; returns its length. */
static size_t screen_sequence(struct screen *s, const char *p)
{
	size_t n = 0, number = 0;

	while (p[n] >= '0' && p[n] <= '?') {
		number = p[n] == ';' ? 0 : number * 10 + (size_t)(p[n] - '0');
		n++;
	}
	if (p[n] == 'A') {
		assert_true(number <= s->row);
		s->row -= number;
	} else if (p[n] == 'J') {
		screen_clear_below(s);
	} else {
		assert_int_equal(p[n], 'm');
	}
	return n + 1;
}

static void screen_write(struct screen *s, const char *p)
{
	while (*p) {
		if (strncmp(p, "\033[", 2) == 0) {
			p += 2;
			p += screen_sequence(s, p);
			continue;
		}
		if (*p == '\n') {
			s->row++;
			s->column = 0;
		} else if (*p == '\r') {
			s->column = 0;
		} else {
			assert_true((unsigned char)*p >= 0x20);
			assert_true(s->column < COLUMNS);
			/* "…" takes three bytes and one column: shown as '~'. */
			bool is_mark = strncmp(p, "…", 3) == 0;
			s->cells[s->row][s->column] = *p;
			if (is_mark)
				s->cells[s->row][s->column] = '~';
			s->column++;
			p += is_mark ? 2 : 0;
		}
		p++;
	}
}

/* All rows without the blanks at their ends, joined by '|'. */
static const char *screen_text(const struct screen *s, struct buf *ret)
{
	buf_clear(ret);
	for (size_t i = 0; i < ROWS; i++) {
		struct str row = str_trim_right(str_of(s->cells[i]));
		if (i > 0 && row.n == 0 && i >= s->row)
			break;
		buf_add_str(ret, row);
		buf_add_char(ret, '|');
	}
	return buf_text(ret);
}

/* ---- Events ---- */

static void build(struct view *v, const struct build_event *event)
{
	v->ops->build(v, event);
}

static void start(struct view *v, uint32_t step, const char *name)
{
	build(v, &(struct build_event){
			 .kind = BUILD_STEP_START, .step = step, .name = str_of(name)});
}

static void output(struct view *v, uint32_t step, const char *text)
{
	build(v, &(struct build_event){.kind = BUILD_STEP_LOG, .step = step, .text = str_of(text)});
}

static void done(struct view *v, uint32_t step, const char *name, bool cached, int64_t ns)
{
	build(v, &(struct build_event){.kind = BUILD_STEP_DONE,
			 .step = step,
			 .name = str_of(name),
			 .cached = cached,
			 .duration = ns});
}

static void pull(struct view *v, const char *layer, const char *phase, uint64_t at, uint64_t of)
{
	build(v, &(struct build_event){.kind = BUILD_PULL,
			 .name = STR("python:3.13"),
			 .text = str_of(layer),
			 .phase = str_of(phase),
			 .layers = 2,
			 .done = at,
			 .total = of});
}

static void run(struct view *v, enum run_event_kind kind, const char *text)
{
	v->ops->run(v, &(struct run_event){.kind = kind, .text = str_of(text)});
}

static void view_free(struct view *v)
{
	buf_done(&v->out);
	v->ops->free(v);
}

#define LAYER_A "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define LAYER_B "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

/* ---- plain ---- */

static void plain_is_lines(void **state)
{
	struct view *v = view_plain_new();

	(void)state;
	build(v, &(struct build_event){.kind = BUILD_PLANNED, .text = STR("3 steps, 1 stage")});
	done(v, 1, "[1/3] FROM base", true, 0);
	start(v, 2, "[2/3] RUN make");
	v->now += 412 * MS;
	output(v, 2, "com");
	output(v, 2, "piling\033[31m\nrest");
	v->now += 100 * MS;
	done(v, 2, "[2/3] RUN make", false, 512 * MS);
	start(v, 3, "[3/3] RUN a\n\tb");
	build(v,
		&(struct build_event){
			.kind = BUILD_STEP_FAILED, .step = 3, .text = STR("exited with 1\033[2J")});
	assert_string_equal(v->out.data, "3 steps, 1 stage\n\n"
					 "#1 [1/3] FROM base\n#1 CACHED\n\n"
					 "#2 [2/3] RUN make\n#2 0.412 compiling\n#2 0.512 rest\n"
					 "#2 DONE 0.51s\n\n"
					 "#3 [3/3] RUN a  b\n#3 ERROR: exited with 1\n\n");
	view_free(v);
}

/* Two steps talk at once: the lines of each stay together, and none waits for long. */
static void plain_says_whose_lines_come(void **state)
{
	struct view *v = view_plain_new();

	(void)state;
	start(v, 1, "[a 1/1] RUN one");
	start(v, 2, "[b 1/1] RUN two");
	output(v, 1, "from one\n");
	output(v, 2, "from two\n");
	output(v, 1, "again\n");
	v->now += 1999 * MS;
	output(v, 2, "later\n");
	assert_string_equal(v->out.data, "#1 [a 1/1] RUN one\n#1 0.000 from one\n#1 0.000 again\n");
	v->now += MS;
	build(v, &(struct build_event){.kind = BUILD_TICK});
	output(v, 1, "kept\n");
	assert_string_equal(v->out.data,
		"#1 [a 1/1] RUN one\n#1 0.000 from one\n#1 0.000 again\n"
		"\n#2 [b 1/1] RUN two\n#2 0.000 from two\n#2 1.999 later\n");
	buf_clear(&v->out);
	done(v, 2, "[b 1/1] RUN two", false, 2000 * MS);
	assert_string_equal(v->out.data, "#2 DONE 2.00s\n\n#1 [a 1/1] RUN one\n#1 2.000 kept\n");
	view_free(v);
}

/* One fails, what the other said is told before it is said to be cancelled. */
static void plain_tells_what_was_cancelled(void **state)
{
	struct view *v = view_plain_new();

	(void)state;
	start(v, 1, "RUN one");
	start(v, 2, "RUN two");
	build(v, &(struct build_event){.kind = BUILD_STEP_WAITS,
			 .step = 2,
			 .text = STR("another build is making this step")});
	build(v, &(struct build_event){
			 .kind = BUILD_STEP_FAILED, .step = 1, .text = STR("exited with 1")});
	build(v, &(struct build_event){.kind = BUILD_STEP_CANCELLED, .step = 2});
	assert_string_equal(v->out.data, "#1 RUN one\n#1 ERROR: exited with 1\n\n"
					 "#2 RUN two\n#2 0.000 another build is making this step\n"
					 "#2 CANCELED\n\n");
	view_free(v);
}

static void plain_end_holds_nothing_back(void **state)
{
	struct view *v = view_plain_new();

	(void)state;
	start(v, 1, "RUN one");
	start(v, 2, "RUN two");
	output(v, 2, "two\n");
	v->ops->end(v);
	assert_string_equal(v->out.data, "#1 RUN one\n\n#2 RUN two\n#2 0.000 two\n");
	view_free(v);
}

static void plain_pull_says_little(void **state)
{
	struct view *v = view_plain_new();

	(void)state;
	pull(v, "registry.example", "resolve", 0, 0);
	pull(v, "registry.example", "resolve", 0, 0);
	pull(v, LAYER_A, "exists", 0, 0);
	for (int i = 0; i < 600; i++) {
		v->now += 10 * MS;
		pull(v, LAYER_B, "download", (uint64_t)i * 100000, 60000000);
	}
	pull(v, LAYER_B, "done", 0, 0);
	assert_string_equal(v->out.data, "pull python:3.13: resolve registry.example\n"
					 "pull python:3.13: aaaaaaaaaaaa exists\n"
					 "pull python:3.13: 49.9 MB / 60.0 MB 10.0 MB/s\n"
					 "pull python:3.13: bbbbbbbbbbbb done 60.0 MB\n");
	view_free(v);
}

static void plain_run_gives_the_apps_bytes(void **state)
{
	struct view *v = view_plain_new();

	(void)state;
	run(v, RUN_STARTED, "app_port 7860");
	run(v, RUN_WAITING, "app_port 7860");
	run(v, RUN_LOG, "half a \033[1mline");
	run(v, RUN_WARNING, "no memory limit");
	run(v, RUN_LOG, "more\n");
	run(v, RUN_HEALTH, "healthy");
	run(v, RUN_READY, "http://localhost:7860");
	v->ops->note(v, "summary", STR("app ready 0.9s"));
	assert_string_equal(v->out.data, "waiting: app_port 7860\nhalf a \033[1mline\n"
					 "warning: no memory limit\nmore\nhealthy\n"
					 "app ready 0.9s\n");
	buf_clear(&v->out);
	v->terminal.is_terminal = true;
	run(v, RUN_LOG, "\033[1mbold\n");
	assert_string_equal(v->out.data, "bold\n");
	view_free(v);
}

/* ---- json ---- */

static void json_is_an_object_a_line(void **state)
{
	struct view *v = view_json_new();
	cleanup(arena_done) struct arena a = {0};
	static const char *const events[] = {"planned", "step-start", "step-log", "step-log",
		"step-done", "step-start", "step-waiting", "step-cancelled", "pull", "warning",
		"image", "started", "log", "ready", "log", "exited", "summary"};
	size_t count = 0;
	struct err err = {0};

	(void)state;
	build(v, &(struct build_event){.kind = BUILD_PLANNED, .total = 3, .text = STR("3 steps")});
	start(v, 1, "RUN x");
	output(v, 1, "one\ntwo \xff");
	build(v, &(struct build_event){.kind = BUILD_TICK});
	done(v, 1, "RUN x", false, 1500 * MS);
	start(v, 2, "RUN y");
	build(v, &(struct build_event){
			 .kind = BUILD_STEP_WAITS, .step = 2, .text = STR("for another")});
	build(v, &(struct build_event){.kind = BUILD_STEP_CANCELLED, .step = 2});
	pull(v, LAYER_A, "download", 1, 2);
	build(v, &(struct build_event){.kind = BUILD_WARNING, .text = STR("\"quoted\"")});
	build(v, &(struct build_event){.kind = BUILD_IMAGE, .text = STR(LAYER_A)});
	run(v, RUN_STARTED, "");
	run(v, RUN_LOG, "hello\nunfinished");
	run(v, RUN_READY, "http://localhost:1");
	run(v, RUN_EXITED, "stopped");
	v->ops->note(v, "summary", STR("x"));
	struct str rest = buf_str(&v->out);
	while (rest.n > 0) {
		const struct json *object = NULL;
		struct str line = str_cut(&rest, '\n'), event;
		assert_int_equal(json_parse(&a, line, 4096, &object, &err), 0);
		assert_int_equal(json_get_str(object, "event", &event, &err), 0);
		assert_true(count < array_size(events));
		assert_true(str_is(event, events[count++]));
	}
	assert_int_equal(count, array_size(events));
	assert_non_null(strstr(v->out.data, "\"step\":1,\"text\":\"two ?\"}"));
	assert_non_null(strstr(v->out.data, "\"cached\":false,\"ms\":1500"));
	view_free(v);
}

/* ---- bars ---- */

static struct view *bars(void)
{
	struct view *v = view_bars_new();

	v->terminal = (struct terminal){
		.is_terminal = true, .is_live = true, .columns = COLUMNS, .rows = 10};
	v->now = 1000 * MS;
	return v;
}

static void to_screen(struct screen *s, struct view *v)
{
	screen_write(s, buf_text(&v->out));
	buf_clear(&v->out);
}

static void finished_steps_scroll_up(void **state)
{
	struct view *v = bars();
	struct screen s = {0};
	cleanup(buf_done) struct buf text = {0};

	(void)state;
	done(v, 1, "[1/3] FROM base", true, 0);
	start(v, 2, "[2/3] RUN a-rather-long-command --with options");
	v->now += 100 * MS;
	output(v, 2, "one\ntwo\nthree\nfour\nfive\nsi");
	to_screen(&s, v);
	assert_string_equal(screen_text(&s, &text), " => CACHED [1/3] FROM base|"
						    " => [2/3] RUN a-rather-long-com~  0.10s|"
						    "    three|    four|    five|    si|");
	v->now += 400 * MS;
	build(v, &(struct build_event){.kind = BUILD_TICK});
	to_screen(&s, v);
	assert_non_null(strstr(screen_text(&s, &text), "0.50s|    three|"));
	done(v, 2, "", false, 500 * MS);
	build(v, &(struct build_event){.kind = BUILD_WARNING, .text = STR("odd\n\033[2J")});
	to_screen(&s, v);
	assert_string_equal(screen_text(&s, &text), " => CACHED [1/3] FROM base|"
						    " => [2/3] RUN a-rather-long-com~  0.50s|"
						    "warning: odd|");
	view_free(v);
}

static void live_area_fits_the_terminal(void **state)
{
	struct view *v = bars();
	struct screen s = {0};
	cleanup(buf_done) struct buf text = {0};

	(void)state;
	for (uint32_t i = 1; i <= 30; i++) {
		v->now += 100 * MS;
		start(v, i, "[x] RUN something");
		output(v, i, "a line that is longer than all the forty columns\n");
	}
	to_screen(&s, v);
	/* One of the ten rows stays for the cursor. */
	assert_int_equal(s.row, 9);
	build(v, &(struct build_event){.kind = BUILD_TICK});
	v->ops->end(v);
	to_screen(&s, v);
	assert_string_equal(screen_text(&s, &text), "|");
	view_free(v);
}

static void narrowed_terminal_is_erased_whole(void **state)
{
	struct view *v = bars();

	(void)state;
	start(v, 1, "[1/1] RUN x");
	buf_clear(&v->out);
	v->terminal.columns = COLUMNS / 2;
	v->now += 1000 * MS;
	build(v, &(struct build_event){.kind = BUILD_TICK});
	/* The one line of 39 columns takes two rows of 20 by now. */
	assert_true(str_starts(buf_str(&v->out), STR("\r\033[2A\033[J")));
	view_free(v);
}

static void redraws_are_limited(void **state)
{
	struct view *v = bars();

	(void)state;
	start(v, 1, "[1/1] RUN x");
	buf_clear(&v->out);
	for (int i = 0; i < 10000; i++)
		output(v, 1, "chatter\n");
	assert_int_equal(v->out.len, 0);
	view_free(v);
}

static void pulls_have_bars(void **state)
{
	struct view *v = bars();
	struct screen s = {0};
	cleanup(buf_done) struct buf text = {0};

	(void)state;
	v->terminal.columns = COLUMNS;
	pull(v, LAYER_A, "download", 10000000, 20000000);
	to_screen(&s, v);
	v->now += 2000 * MS;
	pull(v, LAYER_A, "download", 20000000, 20000000);
	to_screen(&s, v);
	assert_non_null(strstr(screen_text(&s, &text), "    aaaaaaaaaaaa download "));
	pull(v, LAYER_A, "done", 0, 0);
	to_screen(&s, v);
	/* The other layer is still to come, but nothing is known of it. */
	assert_string_equal(screen_text(&s, &text), "|");
	pull(v, LAYER_B, "exists", 0, 0);
	to_screen(&s, v);
	assert_string_equal(screen_text(&s, &text), " => pull python:3.13      20.0 MB 2.00s|");
	view_free(v);
}

static void app_is_waited_for(void **state)
{
	struct view *v = bars();
	struct screen s = {0};
	cleanup(buf_done) struct buf text = {0};

	(void)state;
	run(v, RUN_STARTED, "app_port 7860");
	v->now += 1000 * MS;
	run(v, RUN_LOG, "loading\n 10%");
	to_screen(&s, v);
	assert_string_equal(screen_text(&s, &text), "loading|"
						    " => waiting: app_port 7860        1.00s|"
						    "     10%|");
	run(v, RUN_READY, "http://localhost:7860");
	run(v, RUN_LOG, "served \033[31m/\033[0m");
	v->ops->note(v, "stopping", STR("stopping"));
	to_screen(&s, v);
	assert_string_equal(screen_text(&s, &text), "loading| 10%|served /|stopping|");
	view_free(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_is_lines),
		cmocka_unit_test(plain_says_whose_lines_come),
		cmocka_unit_test(plain_tells_what_was_cancelled),
		cmocka_unit_test(plain_end_holds_nothing_back),
		cmocka_unit_test(plain_pull_says_little),
		cmocka_unit_test(plain_run_gives_the_apps_bytes),
		cmocka_unit_test(json_is_an_object_a_line),
		cmocka_unit_test(finished_steps_scroll_up),
		cmocka_unit_test(live_area_fits_the_terminal),
		cmocka_unit_test(narrowed_terminal_is_erased_whole),
		cmocka_unit_test(redraws_are_limited),
		cmocka_unit_test(pulls_have_bars),
		cmocka_unit_test(app_is_waited_for),
	};

	return cmocka_run_group_tests_name("progress", tests, NULL, NULL);
}
