/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include "base/alloc.h"
#include "store/survey.h"
#include "store/test_scene.h"

#define KIB UINT64_C(1024)

/* ---- The ledger ---- */

static void a_shared_file_counts_once(void **state)
{
	struct layer_link one[] = {{1, 100}, {2, 50}}, two[] = {{2, 50}, {3, 7}};
	const struct layer_weight a = {.disk = 1000, .links = one, .link_count = 2},
				  b = {.disk = 500, .links = two, .link_count = 2};
	cleanup(ledger_free) struct ledger *l = ledger_new();

	(void)state;
	assert_int_equal(ledger_add(l, &a), 1000);
	assert_int_equal(ledger_shared(l, &b, false), 50);
	assert_int_equal(ledger_add(l, &b), 450);
	assert_int_equal(ledger_shared(l, &a, true), 50);
	/* Whoever goes first leaves it to the other. */
	assert_int_equal(ledger_remove(l, &a), 950);
	assert_int_equal(ledger_shared(l, &b, true), 0);
	assert_int_equal(ledger_remove(l, &b), 500);
}

/* ---- Choosing ---- */

struct chosen {
	char text[128]; /* numbers of layers in their order: "3 2 " */
	uint64_t gain;
};

/* An image of layers, named or not. */
static void make_image(struct scene *s, const char *name, const unsigned *numbers, size_t count)
{
	cleanup(arena_done) struct arena a = {0};
	struct image_record record = {.origin = IMAGE_BUILT};
	struct oci_reference reference;
	struct err err = {0};

	record.config = str_of(arena_printf(&a, "{\"made\":\"%s %u\"}", name, numbers[0]));
	for (size_t i = 0; i < count; i++) {
		struct layer_key key = key_number(numbers[i]);
		oci_list_add(&a, &record.layers, str_of(key.hex));
	}
	assert_ok(image_save(s->images, &record, &err), &err);
	if (!*name)
		return;
	assert_ok(oci_reference_parse(&a, str_of(name), &reference, &err), &err);
	assert_ok(image_tag(s->images, &reference, &record.id, &err), &err);
}

static struct chosen choose(struct scene *s, struct choice choice, const char *leased_number)
{
	cleanup(survey_done) struct survey survey = {0};
	cleanup(leased_done) struct leased leased = {.layers = map_new(), .images = map_new()};
	struct survey_layer **order = NULL;
	struct chosen ret = {0};
	struct err err = {0};
	size_t count = 0;

	assert_ok(survey_load_caches(&survey, s->layers, &err), &err);
	assert_ok(survey_load(&survey, s->store.dir, s->layers, s->images, &err), &err);
	if (leased_number) {
		struct layer_key key = key_number((unsigned)leased_number[0] - '0');
		(void)map_set(leased.layers, str_of(key.hex), s);
	}
	survey_mark(&survey, &leased, NEED_LEASE);
	survey_settle(&survey, choice.all);
	choice.now = time(NULL);
	survey_choose(&survey, &choice, &order, &count);
	for (size_t i = 0; i < count; i++) {
		ret.gain += order[i]->gain;
		for (unsigned n = 1; n < 10; n++) {
			struct layer_key key = key_number(n);
			size_t used = strlen(ret.text);
			if (layer_key_eq(&key, &order[i]->meta.key))
				snprintf(ret.text + used, sizeof(ret.text) - used, "%u ", n);
		}
	}
	return ret;
}

static void the_least_recently_used_goes_first(void **state)
{
	struct scene *s = *state;

	make_layer(s, 1, 0, 100, 500);
	make_layer(s, 2, 0, 100, 900);
	make_layer(s, 3, 0, 100, 700);
	assert_string_equal(choose(s, (struct choice){0}, NULL).text, "2 3 1 ");
	/* No more than the budget asks for. */
	assert_string_equal(choose(s, (struct choice){.keep = 250 * KIB}, NULL).text, "2 ");
	assert_string_equal(choose(s, (struct choice){.keep = 130 * KIB}, NULL).text, "2 3 ");
	assert_string_equal(choose(s, (struct choice){.keep = UINT64_MAX}, NULL).text, "");
	assert_string_equal(choose(s, (struct choice){.until = 600}, NULL).text, "2 3 ");
}

static void what_was_built_on_goes_after_it(void **state)
{
	struct scene *s = *state;

	make_layer(s, 1, 0, 10, 9000);
	make_layer(s, 2, 1, 10, 8000);
	make_layer(s, 3, 2, 10, 10);
	make_layer(s, 4, 0, 10, 100);
	/* 1 and 2 look old, but 3 stands on them. */
	assert_string_equal(choose(s, (struct choice){0}, NULL).text, "4 3 2 1 ");
	assert_string_equal(choose(s, (struct choice){.until = 50}, NULL).text, "4 ");
}

static void what_is_needed_stays(void **state)
{
	struct scene *s = *state;
	const unsigned named[] = {1, 2}, nameless[] = {1, 3};

	make_layer(s, 1, 0, 10, 9000);
	make_layer(s, 2, 1, 10, 8000);
	make_layer(s, 3, 1, 10, 7000);
	make_layer(s, 4, 3, 10, 6000);
	make_layer(s, 5, 0, 10, 5000);
	make_image(s, "app", named, 2);
	make_image(s, "", nameless, 2);
	assert_string_equal(choose(s, (struct choice){0}, NULL).text, "4 3 5 ");
	assert_string_equal(choose(s, (struct choice){.all = true}, NULL).text, "4 3 5 ");
	/* With a lease on 4 all below it stays. */
	assert_string_equal(choose(s, (struct choice){0}, "4").text, "5 ");
	assert_string_equal(choose(s, (struct choice){.all = true}, "4").text, "5 ");
}

static void the_newest_build_of_a_context_is_a_floor(void **state)
{
	struct scene *s = *state;
	cleanup(store_lease_free) struct store_lease *lease = NULL;
	const struct layer_key key = key_number(2);
	const struct layer_chain chain = {&key, 1};
	struct err err = {0};
	struct stat st;

	make_layer(s, 1, 0, 10, 9000);
	make_layer(s, 2, 1, 10, 8000);
	make_layer(s, 3, 0, 10, 10);
	assert_ok(store_lease_new(&s->store, &lease, &err), &err);
	assert_ok(store_lease_layers(lease, s->layers, chain, &err), &err);
	assert_ok(store_lease_keep(&s->store, lease, "/etc", &err), &err);
	store_lease_free(take_ptr(lease));
	assert_string_equal(choose(s, (struct choice){0}, NULL).text, "3 ");
	assert_string_equal(choose(s, (struct choice){.all = true}, NULL).text, "3 2 1 ");
	/* The next build of the same context uses something else. */
	assert_ok(store_lease_new(&s->store, &lease, &err), &err);
	assert_ok(store_lease_keep(&s->store, lease, "/etc", &err), &err);
	assert_string_equal(choose(s, (struct choice){0}, NULL).text, "3 2 1 ");
	/* A context that is gone needs nothing. */
	assert_ok(store_lease_keep(&s->store, lease, "/nowhere/at all", &err), &err);
	assert_int_equal(fstatat(s->store.dir, "newest", &st, 0), 0);
	newest_forget_gone(&s->store);
	cleanup(leased_done) struct leased left = {0};
	assert_ok(newest_take(s->store.dir, &left, &err), &err);
	assert_int_equal(map_count(left.layers), 0);
}

static void a_fresh_large_layer_survives(void **state)
{
	struct scene *s = *state;
	const struct choice automatic = {.keep = 50 * KIB, .fresh = 3600};

	/* Published now, whatever its time of use says. */
	make_layer(s, 1, 0, 900, 9000);
	make_layer(s, 2, 0, 10, 100);
	assert_string_equal(choose(s, automatic, NULL).text, "");
	assert_string_equal(choose(s, (struct choice){.keep = 50 * KIB}, NULL).text, "1 ");
}

/* ---- Caches ---- */

static void make_cache(struct scene *s, const char *id, unsigned kib, int age)
{
	const struct layer_cache_options options = {.sharing = LAYER_SHARED, .mode = 0755};
	cleanup(layer_cache_close) struct layer_cache *cache = NULL;
	struct digest d = digest_of(id, strlen(id));
	char hex[DIGEST_HEX_SIZE], path[80];
	struct timespec times[2] = {{.tv_nsec = UTIME_NOW}, {.tv_sec = time(NULL) - age}};
	struct err err = {0};

	assert_ok(layer_cache_open(s->layers, str_of(id), &options, &cache, &err), &err);
	cleanup_close int file =
		openat(layer_cache_dir(cache), "f", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(posix_fallocate(file, 0, (off_t)(kib * KIB)), 0);
	snprintf(path, sizeof(path), "caches/%.40s/lock", digest_hex(&d, hex));
	assert_int_equal(utimensat(s->store.dir, path, times, 0), 0);
}

/* Those that are chosen of these names, in the order of the names. */
static void choose_caches(struct scene *s, struct choice choice, char text[static 64])
{
	static const char *const names[] = {"middle", "new", "old"};
	cleanup(survey_done) struct survey survey = {0};
	struct survey_layer **order;
	struct err err = {0};
	size_t count;

	assert_ok(survey_load_caches(&survey, s->layers, &err), &err);
	assert_ok(survey_load(&survey, s->store.dir, s->layers, s->images, &err), &err);
	survey_settle(&survey, choice.all);
	choice.now = time(NULL);
	survey_choose(&survey, &choice, &order, &count);
	*text = '\0';
	for (size_t n = 0; n < array_size(names); n++)
		for (size_t k = 0; k < survey.cache_count; k++)
			if (survey.caches[k].is_chosen &&
				strcmp(survey.caches[k].info.id, names[n]) == 0)
				snprintf(text + strlen(text), 64 - strlen(text), "%s ", names[n]);
}

static void whole_caches_go_by_their_own_budget(void **state)
{
	struct scene *s = *state;
	static const struct {
		struct choice choice;
		const char *expected;
	} table[] = {
		{{.keep_caches = UINT64_MAX}, ""},
		{{.keep_caches = 250 * KIB}, "old "},
		{{.keep_caches = 130 * KIB}, "middle old "},
		{{.keep_caches = 1, .until = 600}, "old "},
		{{.keep_caches = UINT64_MAX, .all = true}, "middle new old "},
		{{.keep_caches = UINT64_MAX, .all = true, .until = 600}, "old "},
	};
	char text[64];

	make_cache(s, "new", 100, 50);
	make_cache(s, "old", 100, 900);
	make_cache(s, "middle", 100, 500);
	for (size_t i = 0; i < array_size(table); i++) {
		choose_caches(s, table[i].choice, text);
		assert_string_equal(text, table[i].expected);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_shared_file_counts_once),
		WITH_SCENE(the_least_recently_used_goes_first),
		WITH_SCENE(what_was_built_on_goes_after_it),
		WITH_SCENE(what_is_needed_stays),
		WITH_SCENE(the_newest_build_of_a_context_is_a_floor),
		WITH_SCENE(a_fresh_large_layer_survives),
		WITH_SCENE(whole_caches_go_by_their_own_budget),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
