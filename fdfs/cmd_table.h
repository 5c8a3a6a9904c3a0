/* fdfs/cmd_table.h - every command, once: X(NAME, number, server, fixed,
 * limit, shape). Included several times; no include guard on purpose.
 *
 * `fixed` is the least that the body holds, `limit` the most of it that is
 * kept in memory (all of it, unless content follows). `shape` is how the
 * length of that part, the head, is known:
 *   ALL      the head is the whole body
 *   CONTENT  the head is `fixed` bytes, content follows
 *   NAMED    the first 8 bytes are a name's length: fixed + name, then content
 * Numbers and widths: FastDFS 6.16.1 (docs/FASTDFS.md). */
/* clang-format off */

/* both servers */
X(QUIT, 82, BOTH, 0, 0, ALL)
X(ACTIVE_TEST, 111, BOTH, 0, 0, ALL)

/* tracker: where to upload */
X(STORE_ONE, 101, TRACKER, 0, 0, ALL)
X(STORE_GROUP_ONE, 104, TRACKER, 16, 16, ALL)
X(STORE_ALL, 106, TRACKER, 0, 0, ALL)
X(STORE_GROUP_ALL, 107, TRACKER, 16, 16, ALL)

/* tracker: where to read or modify */
X(FETCH_ONE, 102, TRACKER, 38, 143, ALL)
X(FETCH_UPDATE, 103, TRACKER, 38, 143, ALL)
X(FETCH_ALL, 105, TRACKER, 38, 143, ALL)

/* tracker: lists */
X(LIST_GROUP, 90, TRACKER, 16, 16, ALL)
X(LIST_GROUPS, 91, TRACKER, 0, 0, ALL)
X(LIST_STORAGES, 92, TRACKER, 16, 31, ALL)

/* tracker: administration */
X(DELETE_STORAGE, 93, TRACKER, 17, 31, ALL)
X(SET_TRUNK, 94, TRACKER, 16, 31, ALL)
X(DELETE_GROUP, 108, TRACKER, 16, 16, ALL)

/* tracker: views of the cluster */
X(LEADER, 95, TRACKER, 0, 0, ALL)
X(TRACKER_STAT, 96, TRACKER, 3, 3, ALL)
X(STORAGE_STAT, 97, TRACKER, 4, 4, ALL)
X(VOLUME_STAT, 98, TRACKER, 4, 4, ALL)

/* tracker: parameters and identities */
X(STATUS, 64, TRACKER, 0, 0, ALL)
X(STORAGE_IDS, 69, TRACKER, 5, 5, ALL)
X(SERVER_ID, 70, TRACKER, 17, 80, ALL)
X(SERVER_STATUS, 71, TRACKER, 17, 80, ALL)
X(PARAMETERS, 75, TRACKER, 0, 0, ALL)
X(GROUP_BY_PORT, 109, TRACKER, 4, 68, ALL)

/* storage: immutable files */
X(UPLOAD, 11, STORAGE, 15, 15, CONTENT)
X(UPLOAD_SLAVE, 21, STORAGE, 38, 165, NAMED)
X(DELETE, 12, STORAGE, 16, 143, ALL)
X(DOWNLOAD, 14, STORAGE, 32, 159, ALL)
X(SET_META, 13, STORAGE, 33, 262144, ALL)
X(GET_META, 15, STORAGE, 16, 143, ALL)
X(FILE_INFO, 22, STORAGE, 16, 143, ALL)
X(CREATE_LINK, 20, STORAGE, 62, 318, ALL)

/* storage: appender files */
X(UPLOAD_APPENDER, 23, STORAGE, 15, 15, CONTENT)
X(APPEND, 24, STORAGE, 16, 143, NAMED)
X(MODIFY, 34, STORAGE, 24, 151, NAMED)
X(TRUNCATE, 36, STORAGE, 16, 143, ALL)
X(REGENERATE, 38, STORAGE, 11, 127, ALL)
/* clang-format on */
