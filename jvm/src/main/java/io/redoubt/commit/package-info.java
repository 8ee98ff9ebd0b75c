/** How Spark's writes end: commit protocols and output committers that publish one commit record for a job. */
package io.redoubt.commit;
