/* cli/admin.c - `creel admin`: a client of /-/admin/v1/, and what works on
 * data directories without a server. */
#include "cli/admin.h"

#include "cli/cli.h"

#include "cluster/secret.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define API "/-/admin/v1"

static const char help[] =
    "usage: creel admin [OPTION...] COMMAND\n"
    "\n"
    "  status                     what the server stores and does\n"
    "  health [--live]            exit status 0 when it is ready (alive)\n"
    "  health --node HOST:PORT    the same of a tracker or a storage node\n"
    "  user add NAME              a user without keys\n"
    "  user remove NAME           and its keys; it may own no bucket\n"
    "  user list\n"
    "  key add USER [--id ID --secret SECRET]\n"
    "                             prints the pair; random unless given\n"
    "  key remove ID\n"
    "  key list [USER]\n"
    "  bucket list                owner, objects and bytes of each\n"
    "  scrub                      read and check all stored bytes, now\n"
    "  compact                    give back the space of mostly dead volumes\n"
    "  collect                    delete what is due on the garbage list\n"
    "  sweep [--confirm]          find files that no record names\n"
    "  verify [--deep]            check each object's bytes are there (and\n"
    "                             read them all)\n"
    "  backup DIR                 consistent copy of the index into DIR, a\n"
    "                             directory of the server's machine\n"
    "  presign ...                a presigned URL (creel presign --help)\n"
    "\n"
    "Without a server:\n"
    "  secret new FILE            a new secret for the processes of a cluster\n"
    "\n"
    "Over FastDFS's protocol (--trackers HOST:PORT or CREEL_TRACKERS; no secret):\n"
    "  fdfs upload FILE | upload-appender FILE | upload-slave ID PREFIX FILE\n"
    "                             print the new ID; --group NAME asks for a group\n"
    "  fdfs download ID [FILE] | info ID | delete ID\n"
    "  fdfs append ID FILE | modify ID OFFSET FILE | truncate ID SIZE |\n"
    "       regenerate ID\n"
    "  fdfs meta ID | meta-merge ID NAME=VALUE... | meta-replace ID [...]\n"
    "\n"
    "Of a cluster (CREEL_CLUSTER_SECRET or CREEL_CLUSTER_SECRET_FILE):\n"
    "  cluster status             trackers, groups, nodes, states, lag, space\n"
    "  cluster remove SERVER_ID [--force]\n"
    "                             takes a node out of its group, for good; with\n"
    "                             --force though another one is away\n"
    "  cluster forget GROUP       trackers forget a group that is gone\n"
    "  cluster verify             are the replicas of each group the same?\n"
    "  cluster scrub              read and check all stored bytes, now\n"
    "  cluster compact            give back the space of mostly dead volumes\n"
    "\n"
    "Without a server, on its data directories:\n"
    "  rebuild index DIR... [--index DIR]\n"
    "                             make a lost index again from its archive in\n"
    "                             the store paths; with --config FILE or\n"
    "                             --trackers LIST of a gateway whose directory\n"
    "                             is DIR: in the cluster; with --force from what\n"
    "                             there is, if too few nodes can vouch for all\n"
    "  rebuild files DIR...       make the file index of each store path again\n"
    "                             from its volumes and files\n"
    "\n"
    "Options:\n"
    "  --endpoint URL   default CREEL_ENDPOINT, else http://127.0.0.1:9000\n"
    "  --dir DIR        where credentials.env is; default CREEL_DIR, else data\n"
    "  --json           the server's answer as it is\n"
    "  --trackers LIST  HOST:PORT,... (default CREEL_TRACKERS)\n"
    "  --group GROUP    of a cluster, this group alone\n"
    "  --ca FILE        CA certificates for https (default CREEL_CA_FILE)\n"
    "  --insecure       take any certificate\n"
    "\n"
    "The root pair comes from CREEL_ROOT_USER and CREEL_ROOT_PASSWORD (or the\n"
    "MINIO_ names, or either as ..._FILE), else from DIR/credentials.env.\n";

/* --json: prints @j as it is. */
static void
print_json(json_t *j)
{
	json_dumpf(j, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	putchar('\n');
}

/* Appends @s percent-encoded. */
static int
add_escaped(struct buf *b, const char *s)
{
	return buf_add_pct(b, str_of(s), false);
}

static void
server_message(const struct buf *answer, int status, struct err *e)
{
	json_t *j = json_loadb(answer->p == NULL ? "" : answer->p, answer->len,
	    0, NULL);
	const char *text = json_string_value(json_object_get(j, "message"));

	if (text != NULL)
		err_set(e, ERR_INVALID, "%s", text);
	else if (status == 503)
		err_set(e, ERR_INVALID,
		    "the server answered 503: it is not ready, or busy (creel "
		    "admin health says why)");
	else
		err_set(e, ERR_INVALID,
		    "the server answered %d; is this a creel endpoint?",
		    status);
	json_decref(j);
}

int
admin_call(struct admin_options *o, const char *method, const char *path,
    const char *query, json_t *body, json_t **ret, struct err *e)
{
	struct buf answer = BUF_CAP(CLIENT_ANSWER_MAX);
	char *text = NULL;
	int rc, status;

	*ret = NULL;
	if (body != NULL) {
		text = json_dumps(body, JSON_COMPACT);
		json_decref(body);
		if (text == NULL)
			return err_set(e, ERR_NO_MEMORY, NULL);
	}
	rc = client_call(&o->client, method, path, query, str_of(text), true,
	    &answer, &status, e);
	if (rc < 0)
		goto out;
	if (status < 200 || status > 299) {
		server_message(&answer, status, e);
		rc = e->code;
		goto out;
	}
	if (answer.len > 0) {
		*ret = json_loadb(answer.p, answer.len, 0, NULL);
		if (*ret == NULL)
			rc = err_set(e, ERR_INVALID,
			    "the server's answer is not JSON");
	}
out:
	free(text);
	buf_fini(&answer);
	return rc;
}

/* Calls, prints as JSON or by @print. */
static int
call_and_print(struct admin_options *o, const char *method, const char *path,
    const char *query, json_t *body, void (*print)(json_t *j))
{
	struct err e = ERR_INIT;
	json_t *j;

	if (admin_call(o, method, path, query, body, &j, &e) < 0)
		return cli_fail("admin", &e);
	if (j != NULL && (o->json || print == NULL))
		print_json(j);
	else if (j != NULL)
		print(j);
	json_decref(j);
	return EXIT_OK;
}

/* METHOD API/what/NAME */
static int
call_named(struct admin_options *o, const char *method, const char *what,
    const char *name)
{
	struct buf path = BUF_CAP(8192);
	int rc;

	rc = buf_addf(&path, API "/%s/", what);
	if (rc == 0)
		rc = add_escaped(&path, name);
	if (rc == 0)
		rc = buf_addc(&path, '\0');
	if (rc < 0)
		rc = cli_usage("admin", "name is too long");
	else
		rc = call_and_print(o, method, path.p, "", NULL, NULL);
	buf_fini(&path);
	return rc;
}

static int
cmd_status(struct admin_options *o, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return call_and_print(o, "GET", API "/status", "", NULL,
	    admin_print_status);
}

static int
cmd_health(struct admin_options *o, int argc, char **argv)
{
	struct buf answer = BUF_CAP(CLIENT_ANSWER_MAX);
	struct err e = ERR_INIT;
	struct str left, why;
	int rc, status;

	(void)argc;
	(void)argv;
	if (o->node != NULL)
		return admin_health_node(o->node);
	rc = client_call(&o->client, "GET",
	    o->live ? "/-/health/live" : "/-/health/ready", "", STR_NULL, false,
	    &answer, &status, &e);
	if (rc == 0 && status != 200) {
		left = buf_str(&answer);
		why = str_trim(str_split(&left, '\n'));
		rc = err_set(&e, ERR_INVALID,
		    "the server answered %d: " STR_FMT, status, STR_ARG(why));
	}
	buf_fini(&answer);
	return rc < 0 ? cli_fail("health", &e) : EXIT_OK;
}

static int
cmd_user_add(struct admin_options *o, int argc, char **argv)
{
	(void)argc;
	return call_and_print(o, "POST", API "/users", "",
	    json_pack("{s:s}", "name", argv[0]), NULL);
}

static int
cmd_user_remove(struct admin_options *o, int argc, char **argv)
{
	(void)argc;
	return call_named(o, "DELETE", "users", argv[0]);
}

static int
cmd_user_list(struct admin_options *o, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return call_and_print(o, "GET", API "/users", "", NULL,
	    admin_print_users);
}

static int
cmd_key_add(struct admin_options *o, int argc, char **argv)
{
	json_t *body = json_pack("{s:s}", "user", argv[0]);

	(void)argc;
	if ((o->key_id == NULL) != (o->key_secret == NULL)) {
		json_decref(body);
		return cli_usage("admin", "--id and --secret go together");
	}
	if (o->key_id != NULL) {
		json_object_set_new(body, "id", json_string(o->key_id));
		json_object_set_new(body, "secret", json_string(o->key_secret));
	}
	return call_and_print(o, "POST", API "/keys", "", body, NULL);
}

static int
cmd_key_remove(struct admin_options *o, int argc, char **argv)
{
	(void)argc;
	return call_named(o, "DELETE", "keys", argv[0]);
}

static int
cmd_key_list(struct admin_options *o, int argc, char **argv)
{
	struct buf query = BUF_CAP(8192);
	int rc = 0;

	if (argc > 0) {
		rc = buf_addz(&query, "user=");
		if (rc == 0)
			rc = add_escaped(&query, argv[0]);
	}
	if (rc == 0)
		rc = buf_addc(&query, '\0');
	if (rc < 0)
		rc = cli_usage("admin", "name is too long");
	else
		rc = call_and_print(o, "GET", API "/keys", query.p, NULL,
		    admin_print_keys);
	buf_fini(&query);
	return rc;
}

static int
cmd_bucket_list(struct admin_options *o, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return call_and_print(o, "GET", API "/buckets", "", NULL,
	    admin_print_buckets);
}

static int
job(struct admin_options *o, const char *path, json_t *body)
{
	return call_and_print(o, "POST", path, "", body, NULL);
}

static int
cmd_scrub(struct admin_options *o, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return job(o, API "/scrub", NULL);
}

static int
cmd_compact(struct admin_options *o, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return job(o, API "/compact", NULL);
}

static int
cmd_collect(struct admin_options *o, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return job(o, API "/collect", NULL);
}

static int
cmd_sweep(struct admin_options *o, int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return job(o, API "/sweep",
	    json_pack("{s:b}", "confirm", (int)o->confirm));
}

/* Objects that cannot be read make it fail. */
static int
cmd_verify(struct admin_options *o, int argc, char **argv)
{
	struct err e = ERR_INIT;
	json_t *j;
	json_int_t bad;

	(void)argc;
	(void)argv;
	if (admin_call(o, "POST", API "/verify", "",
		json_pack("{s:b}", "deep", (int)o->deep), &j, &e) < 0)
		return cli_fail("verify", &e);
	print_json(j);
	bad = json_integer_value(json_object_get(j, "bad"));
	json_decref(j);
	return bad == 0 ? EXIT_OK : EXIT_FAILED;
}

static int
cmd_backup(struct admin_options *o, int argc, char **argv)
{
	struct buf dir = BUF_CAP(16 * 1024);
	char *cwd;
	int rc = 0;

	(void)argc;
	if (argv[0][0] != '/') {
		cwd = getcwd(NULL, 0);
		rc = buf_addf(&dir, "%s/", cwd != NULL ? cwd : "");
		free(cwd);
	}
	if (rc == 0)
		rc = buf_addf(&dir, "%s%c", argv[0], '\0');
	if (rc < 0)
		rc = cli_usage("admin", "name is too long");
	else
		rc = job(o, API "/backup", json_pack("{s:s}", "dir", dir.p));
	buf_fini(&dir);
	return rc;
}

static int
cmd_secret_new(struct admin_options *o, int argc, char **argv)
{
	struct err e = ERR_INIT;

	(void)o;
	(void)argc;
	if (secret_new(argv[0], &e) < 0)
		return cli_fail("secret new", &e);
	return EXIT_OK;
}

static const struct admin_command {
	const char *verb, *noun; /* noun NULL: one word */
	int min, max;            /* further words */
	bool offline;
	admin_fn fn;
} commands[] = {
	{ "status", NULL, 0, 0, false, cmd_status },
	{ "health", NULL, 0, 0, true, cmd_health },
	{ "user", "add", 1, 1, false, cmd_user_add },
	{ "user", "remove", 1, 1, false, cmd_user_remove },
	{ "user", "list", 0, 0, false, cmd_user_list },
	{ "key", "add", 1, 1, false, cmd_key_add },
	{ "key", "remove", 1, 1, false, cmd_key_remove },
	{ "key", "list", 0, 1, false, cmd_key_list },
	{ "bucket", "list", 0, 0, false, cmd_bucket_list },
	{ "scrub", NULL, 0, 0, false, cmd_scrub },
	{ "compact", NULL, 0, 0, false, cmd_compact },
	{ "collect", NULL, 0, 0, false, cmd_collect },
	{ "sweep", NULL, 0, 0, false, cmd_sweep },
	{ "verify", NULL, 0, 0, false, cmd_verify },
	{ "backup", NULL, 1, 1, false, cmd_backup },
	{ "rebuild", NULL, 1, 1000, true, admin_rebuild },
	{ "secret", "new", 1, 1, true, cmd_secret_new },
	{ "fdfs", NULL, 1, 9, true, admin_fdfs },
	{ "cluster", "status", 0, 0, true, admin_cluster_status },
	{ "cluster", "remove", 1, 1, true, admin_cluster_remove },
	{ "cluster", "forget", 1, 1, true, admin_cluster_forget },
	{ "cluster", "verify", 0, 0, true, admin_cluster_verify },
	{ "cluster", "scrub", 0, 0, true, admin_cluster_scrub },
	{ "cluster", "compact", 0, 0, true, admin_cluster_compact },
};

enum {
	OPT_ENDPOINT = 256,
	OPT_DIR,
	OPT_JSON,
	OPT_CA,
	OPT_INSECURE,
	OPT_CONFIRM,
	OPT_DEEP,
	OPT_LIVE,
	OPT_FORCE,
	OPT_ID,
	OPT_SECRET,
	OPT_INDEX,
	OPT_NODE,
	OPT_TRACKERS,
	OPT_GROUP,
	OPT_CONFIG,
	OPT_BACKEND,
};

static const struct option long_options[] = {
	{ "endpoint", required_argument, NULL, OPT_ENDPOINT },
	{ "dir", required_argument, NULL, OPT_DIR },
	{ "json", no_argument, NULL, OPT_JSON },
	{ "ca", required_argument, NULL, OPT_CA },
	{ "insecure", no_argument, NULL, OPT_INSECURE },
	{ "confirm", no_argument, NULL, OPT_CONFIRM },
	{ "deep", no_argument, NULL, OPT_DEEP },
	{ "live", no_argument, NULL, OPT_LIVE },
	{ "force", no_argument, NULL, OPT_FORCE },
	{ "id", required_argument, NULL, OPT_ID },
	{ "secret", required_argument, NULL, OPT_SECRET },
	{ "index", required_argument, NULL, OPT_INDEX },
	{ "node", required_argument, NULL, OPT_NODE },
	{ "trackers", required_argument, NULL, OPT_TRACKERS },
	{ "group", required_argument, NULL, OPT_GROUP },
	{ "config", required_argument, NULL, OPT_CONFIG },
	{ "backend", required_argument, NULL, OPT_BACKEND },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

/* 0, 1 for --help, -1 for a bad option (said). */
static int
parse(int argc, char **argv, struct admin_options *o)
{
	const char *s;
	int c;

	s = getenv("CREEL_ENDPOINT");
	o->client.endpoint =
	    s != NULL && s[0] != '\0' ? s : "http://127.0.0.1:9000";
	s = getenv("CREEL_DIR");
	o->dir = s != NULL && s[0] != '\0' ? s : "data";
	s = getenv("CREEL_CA_FILE");
	o->client.ca = s != NULL && s[0] != '\0' ? s : NULL;
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":h", long_options, NULL)) != -1) {
		switch (c) {
		case OPT_ENDPOINT:
			o->client.endpoint = optarg;
			break;
		case OPT_DIR:
			o->dir = optarg;
			break;
		case OPT_JSON:
			o->json = true;
			break;
		case OPT_CA:
			o->client.ca = optarg;
			break;
		case OPT_INSECURE:
			o->client.insecure = true;
			break;
		case OPT_CONFIRM:
			o->confirm = true;
			break;
		case OPT_DEEP:
			o->deep = true;
			break;
		case OPT_LIVE:
			o->live = true;
			break;
		case OPT_FORCE:
			o->force = true;
			break;
		case OPT_ID:
			o->key_id = optarg;
			break;
		case OPT_SECRET:
			o->key_secret = optarg;
			break;
		case OPT_TRACKERS:
			o->trackers = optarg;
			break;
		case OPT_GROUP:
			o->group = optarg;
			break;
		case OPT_CONFIG:
			o->config = optarg;
			break;
		case OPT_BACKEND:
			o->backend = optarg;
			break;
		case OPT_INDEX:
			o->index_dir = optarg;
			break;
		case OPT_NODE:
			o->node = optarg;
			break;
		case 'h':
			return 1;
		default:
			cli_usage("admin",
			    c == ':' ? "%s needs a value" : "bad option %s",
			    cli_bad_option(argv, optind));
			return -1;
		}
	}
	return 0;
}

static int
run(struct admin_options *o, int argc, char **argv)
{
	const struct admin_command *k = NULL;
	struct err e = ERR_INIT;
	size_t i;
	int skip;

	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(argv[0], commands[i].verb) != 0)
			continue;
		if (commands[i].noun != NULL &&
		    (argc < 2 || strcmp(argv[1], commands[i].noun) != 0))
			continue;
		k = &commands[i];
		break;
	}
	if (k == NULL)
		return cli_usage("admin", "no admin command `%s%s%s`", argv[0],
		    argc > 1 ? " " : "", argc > 1 ? argv[1] : "");
	skip = k->noun != NULL ? 2 : 1;
	if (argc - skip < k->min || argc - skip > k->max)
		return cli_usage("admin", "`%s%s%s` takes %s arguments",
		    k->verb, k->noun != NULL ? " " : "",
		    k->noun != NULL ? k->noun : "",
		    argc - skip < k->min ? "more" : "fewer");
	if (!k->offline && creds_find(o->dir, &o->client.creds, &e) < 0)
		return cli_fail("admin", &e);
	return k->fn(o, argc - skip, argv + skip);
}

int
admin_main(int argc, char **argv)
{
	struct admin_options o = { 0 };
	int rc;

	if (argc > 1 && strcmp(argv[1], "presign") == 0)
		return presign_main(argc - 1, argv + 1);
	rc = parse(argc, argv, &o);
	if (rc < 0)
		return EXIT_USAGE;
	if (rc != 0 || optind >= argc) {
		fputs(help, rc == 1 ? stdout : stderr);
		return rc == 1 ? EXIT_OK : EXIT_USAGE;
	}
	rc = run(&o, argc - optind, argv + optind);
	creds_wipe(&o.client.creds);
	return rc;
}
