// Package deploy holds tests alone, of what the product is delivered by: compose.yaml, the Dockerfile, the files of deploy
// and the workflows. nginx and Supervisor run as packaged, in front of and above the real binary; where a test changes a
// line of theirs (a port, a place for files), it fails when that line is gone. What only machines elsewhere can run is
// read strictly: names, ports, checks and settings have to be there, and to agree with each other.
package deploy
