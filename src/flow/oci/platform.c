/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include <sys/utsname.h>

#include "base/number.h"
#include "oci/oci.h"

/* uname's machine in the words of Go, which OCI uses. */
static const struct {
	const char *machine, *architecture, *variant;
} machines[] = {
	{"x86_64", "amd64", ""},
	{"aarch64", "arm64", "v8"},
	{"armv7l", "arm", "v7"},
	{"armv8l", "arm", "v7"},
	{"armv6l", "arm", "v6"},
	{"armv5tel", "arm", "v5"},
	{"i386", "386", ""},
	{"i486", "386", ""},
	{"i586", "386", ""},
	{"i686", "386", ""},
	{"ppc64le", "ppc64le", ""},
	{"riscv64", "riscv64", ""},
	{"s390x", "s390x", ""},
	{"loongarch64", "loong64", ""},
	{"mips64", "mips64le", ""},
};

struct oci_platform oci_platform_host(void)
{
	struct utsname host;

	if (uname(&host) == 0)
		for (size_t i = 0; i < array_size(machines); i++)
			if (strcmp(host.machine, machines[i].machine) == 0)
				return (struct oci_platform){
					"linux", machines[i].architecture, machines[i].variant};
	/* A machine this table does not know matches no image, which names the architecture. */
	return (struct oci_platform){"linux", "unknown", ""};
}

static bool is_platform_word(struct str s)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];
		if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
			    c == '-'))
			return false;
	}
	return s.n > 0;
}

int oci_platform_parse(struct arena *a, struct str text, struct oci_platform *ret, struct err *err)
{
	struct str rest = text, parts[3];
	size_t count = 0;
	bool is_good = true;

	for (; rest.p && count < array_size(parts); count++) {
		parts[count] = str_cut(&rest, '/');
		is_good = is_good && is_platform_word(parts[count]);
	}
	if (!is_good || rest.p || count < 2) {
		(void)err_set(err, ERR_INPUT, "platform %.*s is not os/architecture[/variant]",
			STR_ARG(text));
		return err_hint(err, "write it like linux/amd64 or linux/arm64/v8, in lower case");
	}
	ret->os = arena_str(a, parts[0]).p;
	ret->architecture = arena_str(a, parts[1]).p;
	ret->variant = count == 3 ? arena_str(a, parts[2]).p : "";
	return 0;
}

/*
 * Variants are levels: a machine of one level runs what was made for lower ones. What has no
 * variant is of the architecture's first level (containerd's normalisation).
 */
static bool variant_level(const struct oci_platform *p, uint64_t *ret)
{
	static const struct {
		const char *architecture;
		uint64_t level;
	} first_levels[] = {{"amd64", 1}, {"arm64", 8}, {"arm", 7}};
	struct str variant = str_of(p->variant);

	if (variant.n)
		return variant.p[0] == 'v' && parse_u64(str_from_index(variant, 1), 99, ret);
	*ret = 0;
	for (size_t i = 0; i < array_size(first_levels); i++)
		if (strcmp(p->architecture, first_levels[i].architecture) == 0)
			*ret = first_levels[i].level;
	return true;
}

bool oci_platform_matches(const struct oci_platform *wanted, const struct oci_platform *offered)
{
	uint64_t has = 0, needs = 0;

	if (strcmp(wanted->os, offered->os) != 0 ||
		strcmp(wanted->architecture, offered->architecture) != 0)
		return false;
	if (strcmp(wanted->variant, offered->variant) == 0)
		return true;
	return variant_level(wanted, &has) && variant_level(offered, &needs) && needs <= has;
}

/* Of two that match, the one made for the higher level. */
static bool is_better(const struct oci_platform *a, const struct oci_platform *b)
{
	uint64_t level_a = 0, level_b = 0;

	return variant_level(a, &level_a) && (!variant_level(b, &level_b) || level_a > level_b);
}

const struct oci_descriptor *oci_manifest_select(
	const struct oci_manifest *index, const struct oci_platform *wanted)
{
	const struct oci_descriptor *best = NULL, *nameless = NULL;
	size_t manifests = 0;

	for (size_t i = 0; i < index->manifest_count; i++) {
		const struct oci_descriptor *entry = &index->manifests[i];
		if (entry->media != OCI_MEDIA_MANIFEST)
			continue;
		manifests++;
		if (!entry->platform.os[0])
			nameless = entry;
		else if (oci_platform_matches(wanted, &entry->platform) &&
			 (!best || is_better(&entry->platform, &best->platform)))
			best = entry;
	}
	if (best)
		return best;
	/* Layouts made for one platform often do not say which. */
	return manifests == 1 ? nameless : NULL;
}
