// Package deploy holds tests only, of compose.yaml, the Dockerfile, the files of deploy and the workflows. nginx and Supervisor run as
// packaged, with the product's binary. Where a test changes a line of a packaged file (a port, a folder), it fails when that line is
// gone. Files that only other machines can run are parsed: names, ports, checks and settings must exist and agree with each other.
package deploy
