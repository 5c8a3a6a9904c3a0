/* cli/admin.h - what the files of `creel admin` share. */
#ifndef CLI_ADMIN_H
#define CLI_ADMIN_H

#include "cli/client.h"

#include <jansson.h>

struct admin_options {
	struct client client;
	const char *dir;              /* where credentials.env is, or NULL */
	const char *index_dir;        /* rebuild: --index */
	const char *trackers, *group; /* cluster: NULL without the option */
	const char *key_id, *key_secret;
	const char *config, *backend; /* rebuild: a gateway's settings */
	const char *node;             /* health: --node */
	bool json, confirm, deep, live, force;
};

/* Words after the verb: argv[0..argc). */
typedef int (*admin_fn)(struct admin_options *o, int argc, char **argv);

/* One call; the answer's JSON. On any status but 2xx the server's message is
 * in @e. *ret may be NULL for an empty answer. */
int admin_call(struct admin_options *o, const char *method, const char *path,
    const char *query, json_t *body, json_t **ret, struct err *e);

/* admin_print.c */
void admin_print_status(json_t *j);
void admin_print_users(json_t *j);
void admin_print_keys(json_t *j);
void admin_print_buckets(json_t *j);

/* admin_node.c: the exit status */
int admin_health_node(const char *address);

/* admin_rebuild.c: without a server */
int admin_rebuild(struct admin_options *o, int argc, char **argv);

/* admin_fdfs.c: over FastDFS's protocol */
int admin_fdfs(struct admin_options *o, int argc, char **argv);

/* admin_cluster.c, admin_verify.c: of a cluster, with its secret */
int admin_cluster_status(struct admin_options *o, int argc, char **argv);
int admin_cluster_remove(struct admin_options *o, int argc, char **argv);
int admin_cluster_forget(struct admin_options *o, int argc, char **argv);
int admin_cluster_verify(struct admin_options *o, int argc, char **argv);
int admin_cluster_scrub(struct admin_options *o, int argc, char **argv);
int admin_cluster_compact(struct admin_options *o, int argc, char **argv);

#endif
