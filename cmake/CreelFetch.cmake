# civetweb 1.16 and LMDB 0.9.31, from source and never committed.
#
# Why not Debian 12's packages: civetweb 1.15 there crashes on the first TLS
# client with OpenSSL 3 and has no IPv6; LMDB stops at keys of 511 bytes.
#
# An archive is looked for in this order; the first whose files have the pinned
# hashes is used:
#   1. -DCIVETWEB_ARCHIVE=FILE, -DLMDB_ARCHIVE=FILE
#   2. third_party/ of this source tree (release tarballs carry both)
#   3. the cache: $CREEL_CACHE_DIR, else ~/.cache/creel
#   4. the Debian mirror that apt uses on this machine (no source index needed)
#   5. upstream's release tag
# Pinned are the files that are compiled, not the archive: Debian's archive and
# upstream's tag hold the same ones. Only they are copied out of it.

set(CIVETWEB_ARCHIVE "" CACHE FILEPATH "Archive of civetweb 1.16")
set(LMDB_ARCHIVE "" CACHE FILEPATH "Archive of LMDB 0.9.31")
if(DEFINED ENV{CREEL_CACHE_DIR} AND NOT "$ENV{CREEL_CACHE_DIR}" STREQUAL "")
  set(creel_cache_dir "$ENV{CREEL_CACHE_DIR}")
else()
  set(creel_cache_dir "$ENV{HOME}/.cache/creel")
endif()

# creel_unpack_pinned(ret ARCHIVE DEST HASH FILE HASH FILE ...): empty in ret,
# or why not. DEST gets the files without their folders.
function(creel_unpack_pinned ret archive dest)
  set(tmp "${dest}.tmp")
  file(REMOVE_RECURSE "${tmp}")
  file(MAKE_DIRECTORY "${tmp}")
  # Not file(ARCHIVE_EXTRACT): a damaged archive would end the configuration.
  execute_process(
    COMMAND ${CMAKE_COMMAND} -E tar xf "${archive}"
    WORKING_DIRECTORY "${tmp}"
    RESULT_VARIABLE rc OUTPUT_QUIET ERROR_QUIET)
  set(why "")
  if(NOT rc EQUAL 0)
    set(why "is not an archive")
  endif()
  file(GLOB top LIST_DIRECTORIES true "${tmp}/*")
  list(LENGTH top n)
  if(why STREQUAL "" AND NOT n EQUAL 1)
    set(why "does not hold one folder")
  endif()
  set(files ${ARGN})
  set(out "${dest}.new")
  file(REMOVE_RECURSE "${out}")
  file(MAKE_DIRECTORY "${out}")
  while(files AND why STREQUAL "")
    list(POP_FRONT files hash path)
    set(found "")
    if(EXISTS "${top}/${path}")
      file(SHA256 "${top}/${path}" found)
    endif()
    if(NOT found STREQUAL hash)
      set(why "has another ${path} than the pinned one")
    else()
      file(COPY "${top}/${path}" DESTINATION "${out}")
    endif()
  endwhile()
  file(REMOVE_RECURSE "${tmp}")
  if(why STREQUAL "")
    file(REMOVE_RECURSE "${dest}")
    file(RENAME "${out}" "${dest}")
  else()
    file(REMOVE_RECURSE "${out}")
  endif()
  set(${ret} "${why}" PARENT_SCOPE)
endfunction()

# True in ret when DEST holds the pinned files already.
function(creel_is_unpacked ret dest)
  set(files ${ARGN})
  set(${ret} TRUE PARENT_SCOPE)
  while(files)
    list(POP_FRONT files hash path)
    get_filename_component(base "${path}" NAME)
    set(found "")
    if(EXISTS "${dest}/${base}")
      file(SHA256 "${dest}/${base}" found)
    endif()
    if(NOT found STREQUAL hash)
      set(${ret} FALSE PARENT_SCOPE)
      return()
    endif()
  endwhile()
endfunction()

# The repositories of this machine's apt, Debian's own first.
function(creel_apt_repositories ret)
  set(repos "")
  find_program(creel_apt_get apt-get)
  mark_as_advanced(creel_apt_get)
  if(creel_apt_get AND EXISTS /usr/lib/apt/apt-helper)
    foreach(filter "Origin: Debian" "Component: main")
      execute_process(
        COMMAND ${creel_apt_get} indextargets --format "$(REPO_URI)"
                "Created-By: Packages" ${filter}
        OUTPUT_VARIABLE lines ERROR_QUIET)
      string(REPLACE "\n" ";" lines "${lines}")
      list(APPEND repos ${lines})
    endforeach()
    list(REMOVE_DUPLICATES repos)
  endif()
  set(${ret} "${repos}" PARENT_SCOPE)
endfunction()

# creel_fetch(NAME civetweb GIVEN archive POOL path URL url FILES hash file...)
# puts the pinned files into ${CMAKE_BINARY_DIR}/third_party/NAME, and sets
# creel_NAME_dir and creel_NAME_archive (empty if unpacked by an earlier run
# and the archive is gone).
function(creel_fetch)
  cmake_parse_arguments(A "" "NAME;GIVEN;POOL;URL" "FILES" ${ARGN})
  set(dest "${CMAKE_BINARY_DIR}/third_party/${A_NAME}")
  set(creel_${A_NAME}_dir "${dest}" PARENT_SCOPE)
  get_filename_component(pool_name "${A_POOL}" NAME)
  get_filename_component(tag_name "${A_URL}" NAME)
  set(tag_name "${A_NAME}-${tag_name}")

  creel_is_unpacked(done "${dest}" ${A_FILES})
  if(done AND "${A_GIVEN}" STREQUAL "")
    foreach(dir "${CMAKE_SOURCE_DIR}/third_party" "${creel_cache_dir}")
      foreach(name "${pool_name}" "${tag_name}")
        if(EXISTS "${dir}/${name}")
          set(creel_${A_NAME}_archive "${dir}/${name}" PARENT_SCOPE)
          return()
        endif()
      endforeach()
    endforeach()
    return()
  endif()

  # 1. named
  if(NOT "${A_GIVEN}" STREQUAL "")
    get_filename_component(given "${A_GIVEN}" ABSOLUTE)
    creel_unpack_pinned(why "${given}" "${dest}" ${A_FILES})
    if(NOT why STREQUAL "")
      message(FATAL_ERROR "${A_NAME}: ${given} ${why}")
    endif()
    set(creel_${A_NAME}_archive "${given}" PARENT_SCOPE)
    return()
  endif()

  # 2. carried, 3. cached
  set(tried "")
  foreach(dir "${CMAKE_SOURCE_DIR}/third_party" "${creel_cache_dir}")
    foreach(name "${pool_name}" "${tag_name}")
      if(EXISTS "${dir}/${name}")
        creel_unpack_pinned(why "${dir}/${name}" "${dest}" ${A_FILES})
        if(why STREQUAL "")
          message(STATUS "${A_NAME}: ${dir}/${name}")
          set(creel_${A_NAME}_archive "${dir}/${name}" PARENT_SCOPE)
          return()
        endif()
        list(APPEND tried "${dir}/${name} ${why}")
      endif()
    endforeach()
  endforeach()

  # 4. apt's mirror, 5. upstream; what is right goes into the cache
  file(MAKE_DIRECTORY "${creel_cache_dir}")
  creel_apt_repositories(repos)
  foreach(source ${repos} upstream)
    if(source STREQUAL "upstream")
      set(url "${A_URL}")
      set(name "${tag_name}")
    else()
      set(url "${source}${A_POOL}")
      set(name "${pool_name}")
    endif()
    # Its own folder, so that two builds at once do not meet in one file.
    string(RANDOM LENGTH 8 salt)
    set(part_dir "${creel_cache_dir}/part.${salt}")
    file(MAKE_DIRECTORY "${part_dir}")
    set(part "${part_dir}/${name}")
    message(STATUS "${A_NAME}: trying ${url}")
    if(source STREQUAL "upstream")
      file(DOWNLOAD "${url}" "${part}" TIMEOUT 120 INACTIVITY_TIMEOUT 20
           STATUS status)
      list(GET status 0 rc)
    else()
      execute_process(
        COMMAND /usr/lib/apt/apt-helper -q -o Acquire::Retries=1
                -o Acquire::http::Timeout=20 -o Acquire::https::Timeout=20
                -o APT::Sandbox::User= download-file "${url}" "${part}"
        RESULT_VARIABLE rc OUTPUT_QUIET ERROR_QUIET)
    endif()
    set(why "could not be fetched")
    if(rc EQUAL 0 AND EXISTS "${part}")
      creel_unpack_pinned(why "${part}" "${dest}" ${A_FILES})
    endif()
    if(why STREQUAL "")
      file(RENAME "${part}" "${creel_cache_dir}/${name}")
      file(REMOVE_RECURSE "${part_dir}")
      set(creel_${A_NAME}_archive "${creel_cache_dir}/${name}" PARENT_SCOPE)
      return()
    endif()
    file(REMOVE_RECURSE "${part_dir}")
    list(APPEND tried "${url} ${why}")
  endforeach()
  string(TOUPPER "${A_NAME}" upper)
  string(REPLACE ";" "; " tried "${tried}")
  message(FATAL_ERROR "${A_NAME}: no archive (${tried}): fetch ${pool_name} "
                      "elsewhere and configure with -D${upper}_ARCHIVE=FILE")
endfunction()

creel_fetch(
  NAME civetweb
  GIVEN "${CIVETWEB_ARCHIVE}"
  POOL pool/main/c/civetweb/civetweb_1.16+dfsg.orig.tar.xz
  URL https://github.com/civetweb/civetweb/archive/refs/tags/v1.16.tar.gz
  FILES
    e572a29680c063b6202377131cee65f238fc801692a57ec7797fdad381fde786
    src/civetweb.c
    e3a12c0a659b3bc6f75aa67799232ca343572dcb3add8b2475666633fa4afad3
    include/civetweb.h
    bddad9e1e9d0ec227cf3ad3ca6bd44ffacf44bd756f631527d2b5798c4e36fbf
    src/handle_form.inl
    1f575b361135b13c377fa84b6d5f9b6faf8b6c6416dfec476509d09a7eb743e3
    src/match.inl
    0b9c95a45d00c4aa74c2ef0de24baad7f9961a95c3d5835a262a31173d0c3916
    src/md5.inl
    e6455d9739845593e18c3ae756b6791cb051f57fafd40806b65ba56e2ff7b20b
    src/response.inl
    2a371807ed7e4b6cf078251dd36df4ea3385becafdc4dd0c50d39f5258e59f6e
    src/sort.inl)

creel_fetch(
  NAME lmdb
  GIVEN "${LMDB_ARCHIVE}"
  POOL pool/main/l/lmdb/lmdb_0.9.31.orig.tar.gz
  URL https://github.com/LMDB/lmdb/archive/refs/tags/LMDB_0.9.31.tar.gz
  FILES
    25d47ee49975808a4ef923ea711fe29dc958d111e6fa2462fc36ab95923336cc
    libraries/liblmdb/mdb.c
    8316fc4df7f9c0a8f664c68e79900854f20726c0ee05510bd828c7818f88f9a7
    libraries/liblmdb/lmdb.h
    91110543f2e84c516188c1e3960b1f504e1c60a4766027a782349c000276ca93
    libraries/liblmdb/midl.c
    07c68cf7bb62625f6e893570ae6e2e30b1f3a2b4e9e0b0e5fe1729f8eb72bee8
    libraries/liblmdb/midl.h)

# creel_lmdb: #include <lmdb.h>. MDB_MAXKEYSIZE=0: as long as pages allow.
# lib/lmdb_unit.c includes mdb.c.
add_library(creel_lmdb STATIC ${CMAKE_SOURCE_DIR}/lib/lmdb_unit.c
                              ${creel_lmdb_dir}/midl.c)
target_include_directories(creel_lmdb SYSTEM PUBLIC ${creel_lmdb_dir})
target_include_directories(creel_lmdb PRIVATE ${CMAKE_SOURCE_DIR})
target_compile_definitions(creel_lmdb PRIVATE MDB_MAXKEYSIZE=0)
# Not our code: no warnings; LMDB reads unaligned on purpose, and its reader
# table and meta pages are shared without locks by design.
target_compile_options(creel_lmdb PRIVATE -w -fno-sanitize=undefined,thread)
find_package(Threads REQUIRED)
target_link_libraries(creel_lmdb PUBLIC Threads::Threads)

# creel_civetweb: the folder that http/civetweb_unit.c includes civetweb from.
add_library(creel_civetweb INTERFACE)
target_include_directories(creel_civetweb SYSTEM INTERFACE ${creel_civetweb_dir})
