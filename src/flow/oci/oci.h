/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OCI_OCI_H
#define OCI_OCI_H

/*
 * The documents of the OCI image and distribution specifications (and their Docker
 * forerunners) as values: references, descriptors, manifests, indexes, image configurations.
 * Pure: bytes in, values out. Everything parsed lives in the arena that was given; strings
 * are terminated copies.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/argv.h"
#include "base/buf.h"
#include "base/digest.h"
#include "base/err.h"
#include "base/str.h"

/* ---- References: [registry/]repository[:tag][@digest] ---- */

struct oci_reference {
	const char *registry;	/* "docker.io", "ghcr.io", "127.0.0.1:5000"; lower case */
	const char *repository; /* "library/python" */
	const char
		*tag; /* "latest" when neither tag nor digest was given; NULL with a digest only */
	bool has_digest;
	struct digest digest;
	const char *text;	/* canonical: docker.io/library/python:3.13-slim[@sha256:…] */
	const char *short_text; /* as docker prints it: python:3.13-slim */
};

/*
 * As docker reads it: no registry means docker.io, no slash there means library/. Errors
 * name the text and the rule (distribution's reference grammar).
 */
must_use int oci_reference_parse(
	struct arena *a, struct str text, struct oci_reference *ret, struct err *err);

/* ---- Platforms ---- */

struct oci_platform {
	const char *os, *architecture, *variant; /* "" when absent */
};

/* The machine this runs on, in OCI's words: linux, amd64 | arm64 | …, v8 | …. */
struct oci_platform oci_platform_host(void);
/* "linux/arm64/v8". */
must_use int oci_platform_parse(
	struct arena *a, struct str text, struct oci_platform *ret, struct err *err);
bool oci_platform_matches(const struct oci_platform *wanted, const struct oci_platform *offered);

/* ---- Descriptors, indexes, manifests ---- */

enum oci_media {
	OCI_MEDIA_UNKNOWN,
	OCI_MEDIA_INDEX,    /* OCI index or Docker manifest list */
	OCI_MEDIA_MANIFEST, /* OCI manifest or Docker schema 2 */
	OCI_MEDIA_CONFIG,
	OCI_MEDIA_LAYER_TAR,
	OCI_MEDIA_LAYER_GZIP,
	OCI_MEDIA_LAYER_ZSTD,
};

enum oci_media oci_media_of(struct str media_type);
/* OCI's own name of it; never NULL. */
const char *oci_media_type(enum oci_media media);

struct oci_descriptor {
	enum oci_media media;
	const char *media_type;
	struct digest digest;
	uint64_t size;
	struct oci_platform platform; /* in an index only */
};

struct oci_manifest {
	enum oci_media media; /* OCI_MEDIA_INDEX or OCI_MEDIA_MANIFEST: says which part is filled */
	struct oci_descriptor config;
	struct oci_descriptor *layers; /* bottom first */
	size_t layer_count;
	struct oci_descriptor *manifests;
	size_t manifest_count;
};

/*
 * content_type is what the registry said ("" when there is none); it, the document's own
 * mediaType and the fields present must agree (CVE-2021-41190). Schema 1 is refused by name.
 */
must_use int oci_manifest_parse(struct arena *a, struct str json, struct str content_type,
	struct oci_manifest *ret, struct err *err);

/*
 * A manifest of one image as a document of the OCI image specification, the same bytes for the
 * same values: media types are OCI's names of `media`, whatever `media_type` says.
 */
void oci_manifest_print(const struct oci_manifest *manifest, struct buf *ret);

struct json_writer;
/* The same of one descriptor. */
void oci_descriptor_print(const struct oci_descriptor *descriptor, struct json_writer *w);

/* The entry of an index for a platform, or NULL. Attestation entries (unknown/unknown) never match.
 */
const struct oci_descriptor *oci_manifest_select(
	const struct oci_manifest *index, const struct oci_platform *wanted);

/* ---- Image configuration ---- */

struct oci_healthcheck {
	char **test; /* {"NONE"}, {"CMD", …} or {"CMD-SHELL", text}; NULL: none given */
	size_t test_count;
	int64_t interval, timeout, start_period, start_interval; /* nanoseconds; 0: default */
	uint64_t retries;
};

struct oci_pair {
	const char *key, *value;
};

struct oci_history {
	const char *created_by, *comment, *author, *created;
	bool empty_layer;
};

/*
 * Lists are NULL-terminated arrays with a count; NULL with count 0 means absent. Cmd and
 * Entrypoint tell absent (NULL) from empty (non-NULL, count 0).
 */
struct oci_list {
	char **items;
	size_t count;
};

struct oci_config {
	struct oci_platform platform;
	const char *author, *created, *user, *working_dir, *stop_signal; /* "" when absent */
	struct oci_list env;						 /* NAME=value, in order */
	struct oci_list cmd, entrypoint, shell;
	bool args_escaped; /* what BuildKit sets with CMD; means something on Windows only */
	struct oci_list exposed_ports; /* "7860/tcp" */
	struct oci_list volumes;
	struct oci_list onbuild;
	struct oci_pair *labels;
	size_t label_count;
	struct oci_healthcheck healthcheck;
	/*
	 * Names of layers in the layer store, for images built here whose diff IDs are not known
	 * because no archive of their layers was ever made: property "spaceport.layers", which
	 * readers of the specification ignore.
	 */
	struct oci_list layers;
	struct oci_list diff_ids; /* "sha256:…", bottom first */
	struct oci_history *history;
	size_t history_count;
};

must_use int oci_config_parse(
	struct arena *a, struct str json, struct oci_config *ret, struct err *err);
/* The JSON document, the same bytes for the same values. */
void oci_config_print(const struct oci_config *config, struct buf *ret);

/* Lists in an arena. oci_list_add copies the text. */
void oci_list_add(struct arena *a, struct oci_list *list, struct str text);
/* Set NAME=value where NAME stands, else at the end. */
void oci_list_set_env(struct arena *a, struct oci_list *list, struct str name, struct str value);
/* NULL when absent. */
const char *oci_list_env(const struct oci_list *list, struct str name);
/* A deep copy of a configuration into another arena. */
void oci_config_copy(struct arena *a, const struct oci_config *from, struct oci_config *to);

#endif
