# The work of target `dist` (CreelDist.cmake).
function(must)
  execute_process(COMMAND ${ARGN} WORKING_DIRECTORY "${BINARY}"
                  RESULT_VARIABLE rc ERROR_VARIABLE err)
  if(NOT rc EQUAL 0)
    string(STRIP "${err}" err)
    message(FATAL_ERROR "dist: ${ARGN}: ${err}")
  endif()
endfunction()

string(REPLACE "|" ";" ARCHIVES "${ARCHIVES}")
file(REMOVE_RECURSE "${BINARY}/${NAME}")
must(git -C "${SOURCE}" archive --format=tar --prefix=${NAME}/
     -o "${BINARY}/${NAME}.tar" HEAD)
must(${CMAKE_COMMAND} -E tar xf "${BINARY}/${NAME}.tar")
foreach(archive ${ARCHIVES})
  if(NOT EXISTS "${archive}")
    message(FATAL_ERROR "dist: an archive of a library is gone; configure "
                        "again in an empty build folder")
  endif()
  file(COPY "${archive}" DESTINATION "${BINARY}/${NAME}/third_party")
endforeach()
must(tar --sort=name --owner=0 --group=0 --numeric-owner -czf
     "${BINARY}/${NAME}.tar.gz" ${NAME})
file(REMOVE "${BINARY}/${NAME}.tar")
file(REMOVE_RECURSE "${BINARY}/${NAME}")
message(STATUS "${BINARY}/${NAME}.tar.gz")
