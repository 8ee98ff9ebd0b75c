/** Roles of a Spark standalone cluster: TLS with certificates at both ends, and a worker that starts attested executors alone. */
package io.redoubt.cluster;
