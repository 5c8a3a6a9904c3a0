/* cli/admin_print.c - the server's answers as tables for people. */
#include "cli/admin.h"

#include "lib/clock.h"

#include <stdio.h>

static const char *
text_of(const json_t *o, const char *name)
{
	const char *s = json_string_value(json_object_get(o, name));

	return s != NULL ? s : "-";
}

static json_int_t
int_of(const json_t *o, const char *name)
{
	return json_integer_value(json_object_get(o, name));
}

/* 1536 -> "1.5 KiB" */
static const char *
size_text(json_int_t n, char dst[24])
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB",
		"PiB" };
	double v = (double)n;
	size_t i = 0;

	while (v >= 1024 && i + 1 < sizeof(units) / sizeof(units[0])) {
		v /= 1024;
		i++;
	}
	snprintf(dst, 24, i == 0 ? "%.0f %s" : "%.1f %s", v, units[i]);
	return dst;
}

static const char *
time_text(json_int_t unix_s, char dst[25])
{
	if (unix_s == 0)
		return "never";
	clock_fmt_iso(unix_s * 1000000000, dst);
	return dst;
}

static void
print_path(const json_t *p)
{
	char a[24], b[24], c[24], d[24], when[25];
	json_int_t total = int_of(p, "scrub_total");

	printf("store path     %s%s\n", text_of(p, "path"),
	    json_is_true(json_object_get(p, "failed")) ? "  FAILED" : "");
	printf("  space        %s free of %s\n",
	    size_text(int_of(p, "available"), a),
	    size_text(int_of(p, "total"), b));
	printf("  files        %" JSON_INTEGER_FORMAT ", %s (%s dead)\n",
	    int_of(p, "files"), size_text(int_of(p, "bytes"), c),
	    size_text(int_of(p, "dead_bytes"), d));
	printf("  scrub        %s of %s, %" JSON_INTEGER_FORMAT
	       " errors, last finished %s\n",
	    size_text(int_of(p, "scrub_bytes"), a), size_text(total, b),
	    int_of(p, "scrub_errors"),
	    time_text(int_of(p, "scrub_last"), when));
	if (int_of(p, "quarantined") > 0)
		printf("  quarantined  %" JSON_INTEGER_FORMAT "\n",
		    int_of(p, "quarantined"));
}

/* A cluster's nodes, as the gateway sees them. */
static void
print_cluster(json_t *c)
{
	json_t *g, *n, *p;
	size_t i, k, x;

	printf("\n%-12s %6s %-22s %-12s %10s %10s %10s\n", "GROUP", "NODE",
	    "ADDRESS", "STATE", "FREE", "FILES", "LAG");
	json_array_foreach(json_object_get(c, "groups"), i, g)
	    json_array_foreach(json_object_get(g, "nodes"), k, n)
	{
		json_int_t avail = 0, files = 0;
		char a[24], b[24];

		json_array_foreach(json_object_get(n, "paths"), x, p)
		{
			avail += int_of(p, "available");
			files += int_of(p, "files");
		}
		printf("%-12s %6" JSON_INTEGER_FORMAT
		       " %-22s %-12s %10s %10" JSON_INTEGER_FORMAT " %10s\n",
		    text_of(g, "group"), int_of(n, "server_id"),
		    text_of(n, "address"), text_of(n, "state"),
		    size_text(avail, a), files,
		    size_text(int_of(n, "lag_bytes"), b));
		if (*text_of(n, "reason") != '\0' &&
		    *text_of(n, "reason") != '-')
			printf("%-12s %6s %s\n", "", "", text_of(n, "reason"));
	}
}

void
admin_print_status(json_t *j)
{
	const json_t *ix = json_object_get(j, "index");
	const json_t *ob = json_object_get(j, "objects");
	const json_t *http = json_object_get(j, "http");
	json_t *p;
	char a[24], b[24], when[25];
	size_t i;

	printf("version        %s\n", text_of(j, "version"));
	printf("state          %s\n", text_of(j, "state"));
	printf("up for         %" JSON_INTEGER_FORMAT " s\n",
	    int_of(j, "uptime_s"));
	printf("connections    %" JSON_INTEGER_FORMAT " (%" JSON_INTEGER_FORMAT
	       " busy) of %" JSON_INTEGER_FORMAT "\n",
	    int_of(http, "connections"), int_of(http, "busy"),
	    int_of(http, "max_connections"));
	printf("buckets        %" JSON_INTEGER_FORMAT "\n",
	    int_of(ob, "buckets"));
	printf("garbage        %" JSON_INTEGER_FORMAT " entries, %s\n",
	    int_of(ob, "garbage_rows"),
	    size_text(int_of(ob, "garbage_bytes"), a));
	printf("last sweep     %s\n",
	    time_text(int_of(ob, "last_sweep"), when));
	printf("index          %s%s, %s log, %s in memory\n",
	    json_is_true(json_object_get(ix, "failed")) ? "FAILED, " : "",
	    size_text(int_of(ix, "lmdb_bytes"), a),
	    size_text(int_of(ix, "log_bytes"), b),
	    size_text(int_of(ix, "table_bytes"), (char[24]){ 0 }));
	printf("index archive  %s%s\n",
	    int_of(ix, "archived_at") > 0 ? "complete up to " : "",
	    time_text(int_of(ix, "archived_at"), when));
	if (json_object_get(j, "cluster") != NULL)
		print_cluster(json_object_get(j, "cluster"));
	else
		json_array_foreach(json_object_get(j, "paths"), i, p)
		    print_path(p);
}

void
admin_print_users(json_t *j)
{
	char when[25];
	json_t *u;
	size_t i;

	printf("%-24s %-10s %-24s %s\n", "USER", "STATE", "CREATED", "ID");
	json_array_foreach(json_object_get(j, "users"), i, u)
	    printf("%-24s %-10s %-24s %s\n", text_of(u, "name"),
		json_is_true(json_object_get(u, "root"))       ? "root"
		: json_is_true(json_object_get(u, "disabled")) ? "disabled"
							       : "active",
		time_text(int_of(u, "created"), when), text_of(u, "id"));
}

void
admin_print_keys(json_t *j)
{
	char when[25];
	json_t *k;
	size_t i;

	printf("%-24s %-24s %-10s %s\n", "ACCESS KEY", "USER", "STATE",
	    "CREATED");
	json_array_foreach(json_object_get(j, "keys"), i, k)
	    printf("%-24s %-24s %-10s %s\n", text_of(k, "id"),
		text_of(k, "user"),
		json_is_true(json_object_get(k, "disabled")) ? "disabled"
							     : "active",
		time_text(int_of(k, "created"), when));
}

void
admin_print_buckets(json_t *j)
{
	char a[24];
	json_t *b;
	size_t i;

	printf("%-32s %-20s %12s %12s %8s\n", "BUCKET", "OWNER", "OBJECTS",
	    "BYTES", "UPLOADS");
	json_array_foreach(json_object_get(j, "buckets"), i, b)
	    printf("%-32s %-20s %12" JSON_INTEGER_FORMAT
		   " %12s %8" JSON_INTEGER_FORMAT "\n",
		text_of(b, "name"), text_of(b, "owner"), int_of(b, "objects"),
		size_text(int_of(b, "bytes"), a), int_of(b, "uploads"));
}
