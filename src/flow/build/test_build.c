/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "build/internal.h"

/* ---- masking ---- */

/* The text fed in pieces of every size must come out the same. */
static void check_masked(const char *const *secrets, const char *in, const char *out)
{
	struct str text = str_of(in);

	for (size_t piece = 1; piece <= text.n; piece++) {
		cleanup(mask_free) struct mask *m = mask_new();
		cleanup(buf_done) struct buf shown = {0};
		for (size_t i = 0; secrets[i]; i++)
			mask_add(m, str_of(secrets[i]));
		for (size_t at = 0; at < text.n; at += piece)
			mask_feed(m, str_slice(text, at, at + piece), &shown);
		mask_flush(m, &shown);
		assert_string_equal(buf_text(&shown), out);
	}
}

static void secrets_are_masked_wherever_reads_cut_them(void **state)
{
	static const char *const one[] = {"hunter2hunter2", NULL};
	static const char *const nested[] = {"abcd", "abcdefgh", "cdefg", NULL};

	(void)state;
	check_masked(one, "token=hunter2hunter2\n", "token=***\n");
	check_masked(one, "hunter2hunter2hunter2hunter2", "******");
	check_masked(one, "hunter2hunter", "hunter2hunter");
	check_masked(one, "hunter2huntehunter2hunter2x", "hunter2hunte***x");
	check_masked(nested, "xabcdefghx", "x***x");
	check_masked(nested, "abcdefg", "***efg");
	check_masked(nested, "cdef", "cdef");
}

static void short_secrets_do_not_eat_the_log(void **state)
{
	static const char *const secrets[] = {"a", "", " \n", "xyz", NULL};

	(void)state;
	check_masked(secrets, "a banana xyz", "a banana xyz");
}

static void a_secret_files_last_line_feed_does_not_hide_it(void **state)
{
	static const char *const secrets[] = {"s3cr3t-value\n", NULL};

	(void)state;
	check_masked(secrets, "it is s3cr3t-value!", "it is ***!");
}

/* ---- events ---- */

static void events_survive_the_way_out(void **state)
{
	const struct build_event event = {.kind = BUILD_PULL,
		.step = 7,
		.cached = true,
		.layers = 3,
		.done = UINT64_C(1) << 40,
		.total = 5,
		.duration = 123456789,
		.name = STR("docker.io/library/x"),
		.phase = STR("download"),
		.text = STR("sha256:…")};
	cleanup(buf_done) struct buf b = {0};
	struct build_event back;

	(void)state;
	event_print(&event, &b);
	assert_true(event_parse(buf_str(&b), &back));
	assert_int_equal(back.kind, BUILD_PULL);
	assert_int_equal(back.step, 7);
	assert_int_equal(back.layers, 3);
	assert_true(back.cached && back.done == UINT64_C(1) << 40 && back.duration == 123456789);
	assert_true(str_eq(back.name, event.name) && str_eq(back.text, event.text));
	for (size_t cut = 0; cut < b.len; cut++)
		assert_false(event_parse(str_slice(buf_str(&b), 0, cut), &back));
	buf_add_char(&b, 'x');
	assert_false(event_parse(buf_str(&b), &back));
}

/* ---- keys ---- */

struct recipe {
	struct plan_run run;
	struct plan_op op;
	struct build_step step;
};

static void make_recipe(struct recipe *r, char **argv, char **env)
{
	*r = (struct recipe){.run = {.argv = {argv, 1}, .env = {env, 2}},
		.op = {.kind = PLAN_RUN,
			.instruction = INSTRUCTION_RUN,
			.user = "user",
			.workdir = "/app"}};
	r->op.run = &r->run;
	r->step.op = &r->op;
}

static void keys_follow_what_a_step_can_see(void **state)
{
	char *argv[] = {(char[]){"uv sync"}, NULL};
	char *env[] = {(char[]){"A=1"}, (char[]){"B=2"}, NULL};
	char *swapped[] = {env[1], env[0], NULL};
	struct digest parent = {{1}}, other = {{2}};
	struct plan_mount secret = {.kind = PLAN_MOUNT_SECRET,
		.id = "T",
		.target = "/run/secrets/T",
		.env = "",
		.source = ""};
	struct plan_mount cache = {
		.kind = PLAN_MOUNT_CACHE, .id = "one", .target = "/c", .env = "", .source = ""};
	struct recipe a, b;

	(void)state;
	make_recipe(&a, argv, env);
	make_recipe(&b, argv, env);
	struct digest key = key_of_step(&parent, &a.step), again = key_of_step(&parent, &b.step);
	assert_true(digest_eq(&key, &again));
	again = key_of_step(&other, &b.step);
	assert_false(digest_eq(&key, &again));
	b.run.env.items = swapped;
	again = key_of_step(&parent, &b.step);
	assert_false(digest_eq(&key, &again));
	b.run.env.items = env;
	b.op.user = "";
	again = key_of_step(&parent, &b.step);
	assert_false(digest_eq(&key, &again));
	b.op.user = "user";
	b.run.mounts = &secret;
	b.run.mount_count = 1;
	struct digest with_secret = key_of_step(&parent, &b.step);
	assert_false(digest_eq(&key, &with_secret));
	secret.required = true;
	again = key_of_step(&parent, &b.step);
	assert_true(digest_eq(&with_secret, &again));
	b.run.mounts = &cache;
	struct digest with_cache = key_of_step(&parent, &b.step);
	cache.id = "two";
	again = key_of_step(&parent, &b.step);
	assert_true(digest_eq(&with_cache, &again));
}

/* ---- order of stages ---- */

/* Stage i has one step for each letter: '.', or the digit of the stage it copies from. */
struct drawing {
	const char *steps[4];
	const char *bases; /* '-', or a digit */
	bool is_sequence;
};

static const struct drawing drawings[] = {
	{{"..", NULL}, "-", true},
	{{"..", ".0."}, "--", false},	  /* the second has a step that needs nothing */
	{{"..", "0."}, "--", true},	  /* it copies first */
	{{"..", ".."}, "-0", true},	  /* it stands on the first */
	{{".", ".", "01"}, "---", false}, /* two sources side by side */
	{{".", ".", "0"}, "-0-", false},  /* the end of one frees two */
	{{".", "", "1."}, "-0-", true}, {{"", "", ""}, "-0-", true}, /* nothing to do */
};

static void draw_stage(struct arena *a, const struct drawing *d, size_t i, struct build_stage *ret)
{
	struct plan_stage *plan = arena_alloc(a, sizeof(*plan));
	size_t count = strlen(d->steps[i]);

	*plan = (struct plan_stage){.needed = true, .base = {.kind = PLAN_IMAGE}};
	if (d->bases[i] != '-')
		plan->base = (struct plan_source){PLAN_STAGE, (size_t)(d->bases[i] - '0')};
	*ret = (struct build_stage){.plan = plan, .step_count = count};
	ret->steps = arena_array(a, count + 1, sizeof(*ret->steps));
	for (size_t k = 0; k < count; k++) {
		struct plan_op *op = arena_alloc(a, sizeof(*op));
		struct plan_copy *copy = arena_alloc(a, sizeof(*copy));
		char from = d->steps[i][k];
		*copy = (struct plan_copy){.from = {.kind = PLAN_CONTEXT}};
		if (from != '.')
			copy->from = (struct plan_source){PLAN_STAGE, (size_t)(from - '0')};
		*op = (struct plan_op){.kind = PLAN_COPY, .copy = copy};
		ret->steps[k].op = op;
	}
}

static void only_a_sequence_is_one(void **state)
{
	(void)state;
	for (size_t i = 0; i < array_size(drawings); i++) {
		cleanup(arena_done) struct arena a = {0};
		struct build_stage stages[4] = {0};
		size_t count = strlen(drawings[i].bases);
		for (size_t k = 0; k < count; k++)
			draw_stage(&a, &drawings[i], k, &stages[k]);
		assert_int_equal(stages_are_sequence(stages, count), drawings[i].is_sequence);
	}
}

static void a_stage_waits_for_what_it_needs_next(void **state)
{
	cleanup(arena_done) struct arena a = {0};
	const struct drawing d = {{"..", ".0"}, "--", false};
	struct build_stage stages[2];

	(void)state;
	draw_stage(&a, &d, 0, &stages[0]);
	draw_stage(&a, &d, 1, &stages[1]);
	assert_true(stage_can_go_on(stages, &stages[1]));
	stages[1].is_started = true;
	stages[1].next = 1;
	assert_false(stage_can_go_on(stages, &stages[1]));
	stages[0].is_over = true;
	assert_true(stage_can_go_on(stages, &stages[1]));
	stages[1].is_over = true;
	assert_false(stage_can_go_on(stages, &stages[1]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_a_sequence_is_one),
		cmocka_unit_test(a_stage_waits_for_what_it_needs_next),
		cmocka_unit_test(secrets_are_masked_wherever_reads_cut_them),
		cmocka_unit_test(short_secrets_do_not_eat_the_log),
		cmocka_unit_test(a_secret_files_last_line_feed_does_not_hide_it),
		cmocka_unit_test(events_survive_the_way_out),
		cmocka_unit_test(keys_follow_what_a_step_can_see),
	};

	return cmocka_run_group_tests_name("build", tests, NULL, NULL);
}
