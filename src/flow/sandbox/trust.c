/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>

#include "base/alloc.h"
#include "os/file.h"
#include "sandbox/internal.h"
#include "sandbox/sandbox.h"

/*
 * Under /dev, which is a fresh tmpfs in every container, so that the mount needs no mount
 * point in the image.
 */
#define BUNDLE_TARGET "/dev/spaceport/ca-bundle.crt"

enum { BUNDLE_MAX = 8 << 20 };

/* What each family of clients reads. SSL_CERT_FILE: OpenSSL, Go, uv; the others as named. */
static const char *const ca_variables[] = {"SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE",
	"PIP_CERT", "GIT_SSL_CAINFO", "NODE_EXTRA_CA_CERTS", "AWS_CA_BUNDLE"};

static void set_if_absent(struct argv *env, const char *name, const char *value)
{
	if (value && *value && !argv_env(env, name))
		argv_set_env(env, str_of(name), str_of(value));
}

void sandbox_trust_env(const struct sandbox_host_trust *trust, struct argv *env)
{
	for (size_t i = 0; trust->ca_bundle && i < array_size(ca_variables); i++)
		set_if_absent(env, ca_variables[i], BUNDLE_TARGET);
	set_if_absent(env, "HTTP_PROXY", trust->http_proxy);
	set_if_absent(env, "http_proxy", trust->http_proxy);
	set_if_absent(env, "HTTPS_PROXY", trust->https_proxy);
	set_if_absent(env, "https_proxy", trust->https_proxy);
	set_if_absent(env, "NO_PROXY", trust->no_proxy);
	set_if_absent(env, "no_proxy", trust->no_proxy);
}

int sandbox_trust_mount(
	const struct sandbox_host_trust *trust, struct sandbox_mount *ret, struct err *err)
{
	static char path[4200];
	cleanup(buf_done) struct buf bundle = {0};

	*ret = (struct sandbox_mount){0};
	if (!trust->ca_bundle)
		return 0;
	snprintf(path, sizeof(path), "%s/" SCRATCH_CA, sandbox_scratch());
	*ret = (struct sandbox_mount){.kind = SANDBOX_BIND,
		.source = path,
		.target = BUNDLE_TARGET,
		.read_only = true,
		.no_exec = true};
	if (access(path, F_OK) == 0)
		return 0;
	int r = file_read(AT_FDCWD, trust->ca_bundle, BUNDLE_MAX, &bundle, err);
	if (r == 0)
		r = file_replace(AT_FDCWD, path, buf_str(&bundle), 0644, err);
	return r < 0 ? err_wrap(err, "certificate authorities") : 0;
}
