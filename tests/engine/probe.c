/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a program in a container sees, a line each, strings as x and their bytes in hexadecimal:
 *
 *     probe ARGUMENT...                  "arg X", "env X", "cwd X", "ids UID GID", and for each
 *                                        entry of /tree "entry PATH MODE UID GID INODE MTIME
 *                                        TARGET ZEROS REST [NAME VALUE]...": a link's target; how
 *                                        many zeros a file begins with, and what follows
 *     probe --set PATH NAME HEXADECIMAL  sets an extended attribute
 */
#define _GNU_SOURCE
#include <err.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

static void print_hex(const char *data, size_t size)
{
	printf(" x");
	for (size_t i = 0; i < size; i++)
		printf("%02x", (unsigned char)data[i]);
}

static void print_word(const char *key, const char *text)
{
	printf("%s", key);
	print_hex(text, strlen(text));
	printf("\n");
}

static void print_content(const char *path)
{
	FILE *file = fopen(path, "re");
	long zeros = 0;
	int c;

	if (!file)
		err(1, "%s", path);
	while ((c = getc(file)) == 0)
		zeros++;
	printf(" %ld x", zeros);
	for (; c != EOF; c = getc(file))
		printf("%02x", (unsigned)c);
	fclose(file);
}

static void print_attributes(const char *path)
{
	char names[4096], value[4096];
	ssize_t all = llistxattr(path, names, sizeof(names));

	for (const char *name = names; name < names + all; name += strlen(name) + 1) {
		ssize_t size = lgetxattr(path, name, value, sizeof(value));
		if (size < 0)
			err(1, "%s: %s", path, name);
		print_hex(name, strlen(name));
		print_hex(value, (size_t)size);
	}
}

static int print_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	char target[4096];
	ssize_t size = type == FTW_SL ? readlink(path, target, sizeof(target)) : 0;

	(void)ftw;
	if (size < 0)
		err(1, "%s", path);
	printf("entry");
	print_hex(path, strlen(path));
	printf(" %o %u %u %lu %ld", st->st_mode, st->st_uid, st->st_gid, st->st_ino, st->st_mtime);
	print_hex(target, (size_t)size);
	if (S_ISREG(st->st_mode))
		print_content(path);
	else
		printf(" 0 x");
	print_attributes(path);
	printf("\n");
	return 0;
}

static int set_attribute(char *const *args)
{
	unsigned char value[256];
	size_t size = 0;

	for (const char *hex = args[2]; *hex && size < sizeof(value); hex += 2) {
		const char digits[] = {hex[0], hex[1], '\0'};
		value[size++] = (unsigned char)strtoul(digits, NULL, 16);
	}
	if (setxattr(args[0], args[1], value, size, 0) < 0)
		err(1, "%s: %s", args[0], args[1]);
	return 0;
}

int main(int argc, char **argv)
{
	char cwd[4096];

	if (argc == 5 && strcmp(argv[1], "--set") == 0)
		return set_attribute(argv + 2);
	for (int i = 1; i < argc; i++)
		print_word("arg", argv[i]);
	for (char **entry = environ; *entry; entry++)
		print_word("env", *entry);
	print_word("cwd", getcwd(cwd, sizeof(cwd)) ? cwd : "");
	printf("ids %u %u\n", getuid(), getgid());
	return nftw("/tree", print_entry, 16, FTW_PHYS);
}
