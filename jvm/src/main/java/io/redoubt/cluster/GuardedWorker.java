package io.redoubt.cluster;

import java.nio.file.Path;
import java.util.Optional;
import org.apache.spark.SecurityManager;
import org.apache.spark.SecurityManager$;
import org.apache.spark.SparkConf;
import org.apache.spark.deploy.ApplicationDescription;
import org.apache.spark.deploy.Command;
import org.apache.spark.deploy.DeployMessages;
import org.apache.spark.deploy.ExecutorState;
import org.apache.spark.deploy.worker.Worker;
import org.apache.spark.deploy.worker.WorkerArguments;
import org.apache.spark.rpc.RpcAddress;
import org.apache.spark.rpc.RpcEnv;
import scala.Function1;
import scala.Option;
import scala.PartialFunction;
import scala.collection.immutable.List$;
import scala.collection.immutable.Map$;
import scala.runtime.AbstractPartialFunction;
import scala.runtime.BoxedUnit;

/**
 * Spark's standalone worker, which starts executors and nothing else, through its agent's {@code java} and nothing else.
 *
 * <p>An application says which class, environment, {@code JAVA_HOME} and library path its executors start with, and a worker
 * would do so. Of all that only the arguments and JVM options are passed on, and the agent's {@code java} decides about
 * those: it attests itself before a JVM starts. Drivers are not started here.
 *
 * <p>Executors find the secret of their trust domain in their own agent's folder. The configuration that this worker starts
 * them by says that there is none, so Spark puts none in their environment.
 */
public final class GuardedWorker extends Worker {
    private static final String EXECUTOR = "org.apache.spark.executor.CoarseGrainedExecutorBackend";

    private static final String STATUS = "redoubt.cluster.status";

    private final ExecutorStarts starts = new ExecutorStarts(Path.of(System.getProperty(STATUS)));

    private GuardedWorker(RpcEnv env, WorkerArguments given, RpcAddress[] masters, SparkConf executors, SecurityManager security) {
        super(
                env,
                given.webUiPort(),
                given.cores(),
                given.memory(),
                masters,
                Worker.ENDPOINT_NAME(),
                given.workDir(),
                executors,
                security,
                Option.empty(),
                Worker.$lessinit$greater$default$11());
    }

    /** Runs a worker; takes the arguments of Spark's own. */
    public static void main(String[] arguments) {
        SparkConf conf = new SparkConf();
        WorkerArguments given = new WorkerArguments(arguments, conf);
        SecurityManager security = new SecurityManager(
                conf,
                SecurityManager$.MODULE$.$lessinit$greater$default$2(),
                SecurityManager$.MODULE$.$lessinit$greater$default$3());
        RpcEnv env = RpcEnv.create(Worker.SYSTEM_NAME(), given.host(), given.port(), conf, security, false);
        RpcAddress[] masters = new RpcAddress[given.masters().length];
        for (int i = 0; i < masters.length; i++) {
            masters[i] = RpcAddress.fromSparkURL(given.masters()[i]);
        }
        SparkConf executors = conf.clone()
                .set("spark.authenticate", "false")
                .set("spark.ssl.rpc.enabled", "false")
                .set("spark.shuffle.service.enabled", "false");
        env.setupEndpoint(Worker.ENDPOINT_NAME(), new GuardedWorker(env, given, masters, executors, security));
        env.awaitTermination();
    }

    @Override
    public synchronized PartialFunction<Object, BoxedUnit> receive() {
        PartialFunction<Object, BoxedUnit> sparks = super.receive();
        return new AbstractPartialFunction<>() {
            private static final long serialVersionUID = 1L;

            @Override
            public boolean isDefinedAt(Object message) {
                return !(message instanceof DeployMessages.LaunchDriver) && sparks.isDefinedAt(message);
            }

            @Override
            public <A extends Object, B> B applyOrElse(A message, Function1<A, B> other) {
                if (!isDefinedAt(message)) {
                    return other.apply(message);
                }
                Object guarded = message instanceof DeployMessages.LaunchExecutor launch ? guarded(launch) : message;
                @SuppressWarnings("unchecked") // it is BoxedUnit, which every caller ignores
                B done = (B) sparks.apply(guarded);
                return done;
            }
        };
    }

    /**
     * Tells the master that an executor runs when that is attested, and not as soon as its process is there: so Spark counts
     * refused ones, and gives an application up instead of starting executors for ever. Its driver is told the agent's reason.
     */
    @Override
    public void handleExecutorStateChanged(DeployMessages.ExecutorStateChanged change) {
        String name = change.appId() + "-" + change.execId();
        if (change.state().equals(ExecutorState.RUNNING())) {
            starts.whenAttested(name, () -> super.handleExecutorStateChanged(change));
            return;
        }
        DeployMessages.ExecutorStateChanged told = change;
        if (ExecutorState.isFinished(change.state())) {
            Path stderr = workDir().toPath().resolve(change.appId()).resolve(Integer.toString(change.execId())).resolve("stderr");
            Optional<String> refusal = starts.ended(name, stderr);
            if (refusal.isPresent()) {
                told = change.copy(
                        change.appId(), change.execId(), change.state(), Option.apply(refusal.get()), change.exitStatus());
            }
        }
        super.handleExecutorStateChanged(told);
    }

    private static DeployMessages.LaunchExecutor guarded(DeployMessages.LaunchExecutor launch) {
        ApplicationDescription app = launch.appDesc();
        Command asked = app.command();
        Command command = new Command(
                EXECUTOR,
                asked.arguments(),
                Map$.MODULE$.<String, String>empty(),
                asked.classPathEntries(),
                List$.MODULE$.<String>empty(),
                asked.javaOpts());
        ApplicationDescription described = app.copy(
                app.name(),
                app.maxCores(),
                command,
                app.appUiUrl(),
                app.defaultProfile(),
                app.eventLogDir(),
                app.eventLogCodec(),
                app.initialExecutorLimit(),
                app.user());
        return launch.copy(
                launch.masterUrl(),
                launch.appId(),
                launch.execId(),
                launch.rpId(),
                described,
                launch.cores(),
                launch.memory(),
                launch.resources());
    }
}
