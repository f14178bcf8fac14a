/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libcurl is loaded when the first request is made. It comes with thirty other libraries: linked
 * in, they would make up half the time of a build that finds everything in the store, and
 * most of the memory that a running Space costs, and neither makes a request.
 */
#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

#include "base/attr.h"
#include "net/internal.h"

static const char library[] = "libcurl.so.4";

static const struct {
	const char *name;
	size_t offset; /* in struct libcurl */
} functions[] = {
#define X(name) {"curl_" #name, offsetof(struct libcurl, name)},
	LIBCURL_FUNCTIONS(X)
#undef X
};

static int cannot_load(struct err *err)
{
	(void)err_set(err, ERR_HOST, "libcurl cannot be loaded: %s", dlerror());
	return err_hint(err, "install it; on Debian and Ubuntu: apt-get install libcurl4");
}

static int load(struct libcurl *ret, struct err *err)
{
	void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);

	if (!handle)
		return cannot_load(err);
	for (size_t i = 0; i < array_size(functions); i++) {
		void *function = dlsym(handle, functions[i].name);
		if (!function)
			return cannot_load(err);
		memcpy((char *)ret + functions[i].offset, &function, sizeof(function));
	}
	return 0;
}

const struct libcurl *libcurl_get(struct err *err)
{
	static struct libcurl loaded;
	static bool is_loaded;

	if (!is_loaded) {
		if (load(&loaded, err) < 0)
			return NULL;
		loaded.global_init(CURL_GLOBAL_DEFAULT);
		is_loaded = true;
	}
	return &loaded;
}
