/** What runs in the driver of a submitted application. */
package io.redoubt.spark;
