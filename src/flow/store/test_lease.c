/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "os/dir.h"
#include "store/test_scene.h"

static size_t count_leases(const struct scene *s)
{
	struct err err = {0};
	int fd = dir_open_beneath(s->store.dir, "leases", O_RDONLY | O_DIRECTORY, 0, &err);
	cleanup_closedir DIR *list = fdopendir(fd);
	size_t n = 0;

	assert_non_null(list);
	for (struct dirent *e; (e = readdir(list));)
		n += e->d_name[0] != '.';
	return n;
}

static bool is_leased(const struct scene *s, unsigned number)
{
	cleanup(leased_done) struct leased leased = {0};
	cleanup_close int guard = -1;
	struct layer_key key = key_number(number);
	struct err err = {0};

	assert_ok(leased_take(s->store.dir, &leased, &guard, &err), &err);
	return map_find(leased.layers, str_of(key.hex)) != NULL;
}

static void lines_are_told_apart(void **state)
{
	cleanup(leased_done) struct leased leased = {.layers = map_new(), .images = map_new()};

	(void)state;
	lease_parse(STR("layer aa\nimage sha256:bb\nwhat\n\nlayers cc\nlayer dd"), &leased);
	assert_int_equal(map_count(leased.layers), 2);
	assert_int_equal(map_count(leased.images), 1);
	assert_non_null(map_find(leased.layers, STR("dd")));
	assert_non_null(map_find(leased.images, STR("sha256:bb")));
}

static void a_lease_says_what_is_there(void **state)
{
	struct scene *s = *state;
	cleanup(store_lease_free) struct store_lease *lease = NULL;
	const struct layer_key keys[] = {key_number(1), key_number(2)};
	struct err err = {0};

	make_layer(s, 1, 0, 1, 1000);
	assert_ok(store_lease_new(&s->store, &lease, &err), &err);
	assert_ok(store_lease_layers(lease, s->layers, (struct layer_chain){keys, 1}, &err), &err);
	assert_int_equal(store_lease_layers(lease, s->layers, (struct layer_chain){keys, 2}, &err),
		STORE_E_ABSENT);
	assert_true(is_leased(s, 1));
	/* Named before it is made. */
	assert_true(is_leased(s, 2));
	store_lease_free(take_ptr(lease));
	assert_false(is_leased(s, 1));
	assert_int_equal(count_leases(s), 0);
}

struct wards {
	pid_t pid;
	int wake; /* writing to it ends the process */
};

/* A process that takes a lease on layer `number`, and waits. */
static struct wards start_holder(struct scene *s, unsigned number)
{
	struct wards w;
	int ready[2], wake[2];
	char byte;

	assert_int_equal(pipe(ready), 0);
	assert_int_equal(pipe(wake), 0);
	w.pid = fork();
	if (w.pid == 0) {
		struct store_lease *lease = NULL;
		struct layer_key key = key_number(number);
		const struct layer_chain chain = {&key, 1};
		if (store_lease_new(&s->store, &lease, NULL) < 0 ||
			store_lease_layers(lease, s->layers, chain, NULL) < 0)
			_exit(1);
		close(wake[1]);
		/* What it inherits keeps the lease alive: a box whose parent was killed. */
		if (fork() == 0)
			_exit(read(wake[0], &byte, 1) != 1);
		if (write(ready[1], "r", 1) != 1)
			_exit(1);
		pause();
	}
	close(ready[1]);
	close(wake[0]);
	assert_true(read(ready[0], &byte, 1) == 1);
	close(ready[0]);
	w.wake = wake[1];
	return w;
}

static void a_lease_ends_with_its_last_holder(void **state)
{
	struct scene *s = *state;
	struct wards w = start_holder(s, 7);
	int status;

	assert_true(is_leased(s, 7));
	kill(w.pid, SIGKILL);
	assert_int_equal(waitpid(w.pid, &status, 0), w.pid);
	assert_true(is_leased(s, 7));
	assert_int_equal(write(w.wake, "w", 1), 1);
	close(w.wake);
	for (int i = 0; i < 500 && is_leased(s, 7); i++)
		usleep(10000);
	assert_false(is_leased(s, 7));
	assert_int_equal(count_leases(s), 0);
}

static void using_a_layer_makes_it_young(void **state)
{
	struct scene *s = *state;
	cleanup(store_lease_free) struct store_lease *lease = NULL;
	const struct layer_key key = key_number(1);
	struct err err = {0};
	struct stat before, after;
	char path[64];

	make_layer(s, 1, 0, 1, 1000);
	snprintf(path, sizeof(path), "layers/%s/meta", key.hex);
	assert_int_equal(fstatat(s->store.dir, path, &before, 0), 0);
	assert_ok(store_lease_new(&s->store, &lease, &err), &err);
	assert_ok(store_lease_layers(lease, s->layers, (struct layer_chain){&key, 1}, &err), &err);
	assert_int_equal(fstatat(s->store.dir, path, &after, 0), 0);
	assert_true(after.st_mtime >= before.st_mtime + 999);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_are_told_apart),
		WITH_SCENE(a_lease_says_what_is_there),
		WITH_SCENE(a_lease_ends_with_its_last_holder),
		WITH_SCENE(using_a_layer_makes_it_young),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
