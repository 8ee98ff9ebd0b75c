package io.redoubt.commit;

import io.redoubt.write.WrittenPart;
import java.io.IOException;
import java.io.Serializable;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.UUID;
import org.apache.spark.SparkEnv;
import org.apache.spark.rpc.RpcCallContext;
import org.apache.spark.rpc.RpcEndpointRef;
import org.apache.spark.rpc.RpcEnv;
import org.apache.spark.rpc.ThreadSafeRpcEndpoint;
import org.apache.spark.util.RpcUtils;
import scala.PartialFunction;
import scala.reflect.ClassTag$;
import scala.runtime.AbstractPartialFunction;
import scala.runtime.BoxedUnit;

/**
 * Parts that tasks of RDD writes report to their driver, on Spark's own authenticated channel. A committer's own way back, the
 * listing of a folder, is the storage's word: a file that it hides would be missing from the commit without anybody knowing.
 *
 * <p>A task that reports twice (an attempt died after it had reported) counts as its last report.
 */
final class TaskReports {
    private static final String ENDPOINT = "redoubt-task-reports";
    private static final String DRIVER = "driver";
    private static final Map<UUID, Map<Integer, List<WrittenPart>>> OPEN = new HashMap<>();
    private static SparkEnv served;

    private TaskReports() {}

    private record Report(UUID commit, int task, ArrayList<WrittenPart> parts) implements Serializable {}

    /** Begins to take reports for a commit, on the driver. */
    static synchronized void open(UUID commit) {
        SparkEnv env = SparkEnv.get();
        if (env != served) {
            env.rpcEnv().setupEndpoint(ENDPOINT, new Endpoint(env.rpcEnv()));
            served = env;
        }
        OPEN.put(commit, new TreeMap<>());
    }

    /** Returns what was reported; later reports are refused. */
    static synchronized List<WrittenPart> close(UUID commit) {
        List<WrittenPart> parts = new ArrayList<>();
        Map<Integer, List<WrittenPart>> tasks = OPEN.remove(commit);
        if (tasks != null) {
            tasks.values().forEach(parts::addAll);
        }
        return parts;
    }

    /** Reports the parts of a task, and returns when the driver has them. */
    static void send(UUID commit, int task, List<WrittenPart> parts) throws IOException {
        Report report = new Report(commit, task, new ArrayList<>(parts));
        SparkEnv env = SparkEnv.get();
        boolean taken;
        if (env.executorId().equals(DRIVER)) {
            taken = take(report);
        } else {
            RpcEndpointRef driver = RpcUtils.makeDriverRef(ENDPOINT, env.conf(), env.rpcEnv());
            taken = (Boolean) driver.<Object>askSync(report, ClassTag$.MODULE$.Object());
        }
        if (!taken) {
            throw new IOException("the driver takes no parts for commit " + commit + " any more");
        }
    }

    private static synchronized boolean take(Report report) {
        Map<Integer, List<WrittenPart>> tasks = OPEN.get(report.commit());
        if (tasks != null) {
            tasks.put(report.task(), report.parts());
        }
        return tasks != null;
    }

    private record Endpoint(RpcEnv rpcEnv) implements ThreadSafeRpcEndpoint {
        @Override
        public PartialFunction<Object, BoxedUnit> receiveAndReply(RpcCallContext context) {
            return new AbstractPartialFunction<>() {
                @Override
                public boolean isDefinedAt(Object message) {
                    return message instanceof Report;
                }

                @Override
                public BoxedUnit apply(Object message) {
                    context.reply(take((Report) message));
                    return BoxedUnit.UNIT;
                }
            };
        }
    }
}
