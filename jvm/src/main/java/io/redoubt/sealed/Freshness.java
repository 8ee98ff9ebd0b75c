package io.redoubt.sealed;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import io.redoubt.keys.CommitHead;
import io.redoubt.keys.EndpointClient;
import java.io.IOException;
import java.util.Optional;
import java.util.UUID;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileSystem;

/**
 * Whether a dataset is as new as the register of heads says (hardening H24), by the rules of Python's {@code
 * redoubt.sealed.freshness}: the registered commit is the head, or one that the head's chain of predecessors leads to. Where
 * nothing is registered, or nobody keeps a register, nothing is said.
 */
public final class Freshness {
    private static final int ATTEMPTS = 8;

    private Freshness() {}

    /**
     * Returns the dataset at {@code head}, or at a newer head that was committed and registered since that was read.
     *
     * @throws RedoubtException {@code broker.rollback}: it is not what was registered, or older; {@code endpoint.*}, or the code
     *     with which the endpoint refused
     */
    static Dataset check(FileSystem fileSystem, Dataset head, Configuration configuration) throws IOException {
        Optional<CommitHead> answer =
                EndpointClient.of(configuration).registeredHead(head.commit().dataset());
        if (answer.isEmpty()) {
            return head;
        }
        CommitHead known = answer.get();
        Dataset newest = head;
        if (known.number() > head.commit().number()) {
            newest = Dataset.read(fileSystem, head.root(), configuration);
        }
        long number = newest.commit().number();
        if (known.number() > number) {
            throw rollback(head.root() + " ends with commit " + number + "; commit " + known.number() + " is registered");
        }
        Dataset record = newest;
        while (record.commit().number() > known.number() + 1) {
            long before = record.commit().number() - 1;
            Optional<String> named = record.commit().previous();
            record = Dataset.read(fileSystem, head.root(), before, configuration);
            if (!named.equals(Optional.of(record.commitDigest()))) {
                throw rollback("commit " + before + " of " + head.root() + " is not the one that the next commit follows");
            }
        }
        boolean isHead = record.commit().number() == known.number();
        Optional<String> digest = isHead ? Optional.of(record.commitDigest()) : record.commit().previous();
        if (!digest.equals(Optional.of(known.digest()))) {
            throw rollback("commit " + known.number() + " of " + head.root() + " is not the one that is registered");
        }
        return newest;
    }

    /**
     * Registers {@code head}, which is durable and follows what was registered; does nothing where nobody keeps a register.
     *
     * @throws RedoubtException {@code broker.register_conflict}: others registered commits all the time, or this job may not;
     *     {@code endpoint.*}, or the code with which the endpoint refused
     */
    public static void register(UUID dataset, CommitHead head, Configuration configuration) throws RedoubtException {
        EndpointClient register = EndpointClient.of(configuration);
        for (int attempt = 1; ; attempt++) {
            Optional<CommitHead> known = register.registeredHead(dataset);
            if (known.isPresent() && known.get().number() >= head.number()) {
                return; // somebody committed on top of this commit meanwhile, and registered that
            }
            try {
                register.registerHead(dataset, known, head);
                return;
            } catch (RedoubtException e) {
                if (attempt == ATTEMPTS || !e.code().equals(ErrorCode.REGISTER_CONFLICT.code())) {
                    throw e;
                }
            }
        }
    }

    private static RedoubtException rollback(String what) {
        return new RedoubtException(ErrorCode.REGISTER_ROLLBACK, what);
    }
}
