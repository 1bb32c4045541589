#!/bin/sh
# One line as every guest of the lab answers: who it is, and the client's address as it saw it.
printf 'Content-Type: text/plain\r\n\r\n%s %s\n' "$(cat /run/id)" "$REMOTE_ADDR"
