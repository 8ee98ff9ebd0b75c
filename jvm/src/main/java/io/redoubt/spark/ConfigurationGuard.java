package io.redoubt.spark;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import java.util.Map;
import org.apache.spark.SparkConf;
import org.apache.spark.SparkContext;
import org.apache.spark.api.plugin.DriverPlugin;
import org.apache.spark.api.plugin.ExecutorPlugin;
import org.apache.spark.api.plugin.PluginContext;
import org.apache.spark.api.plugin.SparkPlugin;

/**
 * Stops an application that changed in code what Redoubt set for it, before its first task.
 *
 * <p>The settings that the agent measured are system properties of the driver: Spark puts them there. A setting that the
 * application makes in code is in its own configuration only, so that the two can be compared. {@value #GUARDED} names
 * the settings.
 */
public final class ConfigurationGuard implements SparkPlugin {
    /** The setting that names the others, separated by commas. */
    static final String GUARDED = "spark.redoubt.guarded";

    @Override
    public DriverPlugin driverPlugin() {
        return new Driver();
    }

    @Override
    public ExecutorPlugin executorPlugin() {
        return null;
    }

    private static final class Driver implements DriverPlugin {
        @Override
        public Map<String, String> init(SparkContext context, PluginContext unused) {
            check(context.getConf());
            return Map.of();
        }
    }

    private static void check(SparkConf conf) {
        for (String key : System.getProperty(GUARDED, "").split(",")) {
            String measured = key.isEmpty() ? null : System.getProperty(key);
            String actual = conf.get(key, null);
            if (measured != null && !measured.equals(actual)) {
                RedoubtException refused = new RedoubtException(
                        ErrorCode.OPTION_REFUSED, "the program set " + key + "=" + actual + " in place of " + measured);
                throw new IllegalStateException(refused.getMessage(), refused);
            }
        }
    }
}
