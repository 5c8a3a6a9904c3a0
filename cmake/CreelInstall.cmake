# What `cmake --install` puts where.
include(GNUInstallDirs)
if(TARGET creel)
  install(TARGETS creel RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
install(FILES conf/server.conf conf/tracker.conf conf/storage.conf
              conf/gateway.conf conf/creel.service
        DESTINATION ${CMAKE_INSTALL_DATADIR}/creel)
install(DIRECTORY docs/ DESTINATION ${CMAKE_INSTALL_DOCDIR})
