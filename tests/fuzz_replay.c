/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stands in for libFuzzer's main: gives every file named on the command line, and every
 * file of every directory named there, to the fuzzer once. So the corpora, among them each
 * input that ever crashed something, are run by both compilers in every test run.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	size_t cap = 1 << 20, size = 0, n;
	uint8_t *data = malloc(cap);

	if (!f || !data) {
		perror(path);
		free(data);
		return 1;
	}
	while ((n = fread(data + size, 1, cap - size, f)) > 0) {
		size += n;
		if (size == cap && !(data = realloc(data, cap *= 2)))
			abort();
	}
	fclose(f);
	/* An exact copy, so that reading one byte too many is seen. */
	uint8_t *exact = malloc(size ? size : 1);
	if (!exact)
		abort();
	memcpy(exact, data, size);
	LLVMFuzzerTestOneInput(exact, size);
	free(exact);
	free(data);
	return 0;
}

static int replay_dir(DIR *dir, const char *path)
{
	int count = 0;
	struct dirent *entry;

	while ((entry = readdir(dir))) {
		char file[4096];
		if (entry->d_name[0] == '.')
			continue;
		snprintf(file, sizeof(file), "%s/%s", path, entry->d_name);
		if (replay_file(file))
			exit(1);
		count++;
	}
	closedir(dir);
	return count;
}

int main(int argc, char **argv)
{
	int count = 0;

	for (int i = 1; i < argc; i++) {
		DIR *dir = opendir(argv[i]);
		if (dir)
			count += replay_dir(dir, argv[i]);
		else if (replay_file(argv[i]))
			return 1;
		else
			count++;
	}
	printf("%d inputs replayed\n", count);
	return count == 0;
}
