/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unpacks any bytes into a directory, without privilege, and looks afterwards whether anything
 * beside it was touched.
 */
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "layer/unpack.h"
#include "os/dir.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { NOBODY = 65534 };

static char scratch_path[64];
static int scratch = -1;
static bool is_root;

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	abort();
}

/* Where root runs the fuzzer, nothing of an input is done as root. */
static void be_nobody(bool yes)
{
	if (is_root && yes)
		must(setegid(NOBODY) == 0 && seteuid(NOBODY) == 0, "drop privilege");
	if (is_root && !yes)
		must(seteuid(0) == 0 && setegid(0) == 0, "take privilege back");
}

static void remove_all(void)
{
	struct err err = {0};

	must(dir_remove_tree(scratch, "root", &err) == 0, err.text);
	must(dir_remove_tree(scratch, "beside", &err) == 0, err.text);
}

static void at_end(void)
{
	remove_all();
	(void)rmdir(scratch_path);
}

static void start(void)
{
	const char *base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";

	is_root = geteuid() == 0;
	snprintf(scratch_path, sizeof(scratch_path), "%s/spaceport-fuzz-XXXXXX", base);
	must(mkdtemp(scratch_path) != NULL, scratch_path);
	scratch = open(scratch_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must(scratch >= 0 && (!is_root || fchown(scratch, NOBODY, NOBODY) == 0), scratch_path);
	must(atexit(at_end) == 0, "atexit");
}

static void lay_out(void)
{
	must(mkdirat(scratch, "root", 0755) == 0, "root");
	must(mkdirat(scratch, "beside", 0755) == 0, "beside");
	must(symlinkat("content", scratch, "beside/link") == 0, "beside/link");
}

static int count(const char *name)
{
	int found = 0, fd = openat(scratch, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = fd < 0 ? NULL : fdopendir(fd);

	must(list != NULL, name);
	while (readdir(list))
		found++;
	closedir(list);
	return found - 2;
}

static void check_beside(void)
{
	char target[16];

	if (count(".") != 2 || count("beside") != 1 ||
		readlinkat(scratch, "beside/link", target, sizeof(target)) != 7)
		must(false, "something outside of the root was changed");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct layer_unpack_options options = {
		/* What an input of this size cannot need. */
		.limits = {.entries = 500, .bytes = 1 << 20, .xattr_bytes = 1 << 16, .depth = 32},
		.is_plain = size % 8 == 7,
		.prefix = size % 8 == 7 ? "a/b" : NULL,
	};
	struct layer_unpack_stats stats;
	struct err err = {0};

	if (scratch < 0)
		start();
	int tar = memfd_create("tar", MFD_CLOEXEC);
	must(tar >= 0 && write(tar, data, size) == (ssize_t)size && lseek(tar, 0, SEEK_SET) == 0,
		"memfd");
	options.recipe_fd = memfd_create("recipe", MFD_CLOEXEC);
	must(options.recipe_fd > 0, "memfd");
	be_nobody(true);
	lay_out();
	int root = openat(scratch, "root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must(root >= 0, "root");
	if (unpack_best_effort(root, tar, &options, &stats, &err) < 0)
		must(err.kind != ERR_NONE && err.kind != ERR_BUG && err.text[0], "no error told");
	close(root);
	close(tar);
	close(options.recipe_fd);
	check_beside();
	remove_all();
	be_nobody(false);
	return 0;
}
