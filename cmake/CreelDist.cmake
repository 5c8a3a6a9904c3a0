# Target `dist`: creel-VERSION.tar.gz of the committed tree with both archives
# in third_party/, so that it builds without a network.
set(creel_dist creel-${PROJECT_VERSION})
add_custom_target(
  dist
  COMMAND
    ${CMAKE_COMMAND} -DSOURCE=${CMAKE_SOURCE_DIR} -DBINARY=${CMAKE_BINARY_DIR}
    -DNAME=${creel_dist}
    "-DARCHIVES=${creel_civetweb_archive}|${creel_lmdb_archive}" -P
    ${CMAKE_SOURCE_DIR}/cmake/dist.cmake
  COMMENT "${creel_dist}.tar.gz"
  VERBATIM)
