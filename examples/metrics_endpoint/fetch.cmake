# Fetches one page: cmake -DURL=<address> -DFILE=<where to> -P fetch.cmake
file(DOWNLOAD "${URL}" "${FILE}" STATUS status TIMEOUT 20)
list(GET status 0 code)
if(NOT code EQUAL 0)
    message(FATAL_ERROR "${URL}: ${status}")
endif()
