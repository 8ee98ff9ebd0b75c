package io.redoubt.sealed;

import io.redoubt.ErrorCode;
import io.redoubt.RedoubtException;
import io.redoubt.keys.CommitHead;
import io.redoubt.keys.EndpointClient;
import java.io.IOException;
import java.util.HashSet;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/**
 * Whether a dataset is as new as the register of heads says (hardening H6, H24), by the rules of Python's {@code
 * redoubt.sealed.freshness}: the registered commit is the head, or one that the head's chain of predecessors leads to, and each
 * commit after it was announced by a writer. Where nothing is registered, or nobody keeps a register, nothing is said.
 */
public final class Freshness {
    private static final int ATTEMPTS = 8;
    private static final Set<String> REFUSALS =
            Set.of(ErrorCode.REGISTER_ROLLBACK.code(), ErrorCode.COMMIT_UNANNOUNCED.code());

    private Freshness() {}

    /**
     * Returns the dataset at {@code head}, or at a newer head that was committed since that was read.
     *
     * @throws RedoubtException {@code broker.rollback}: it is not what was registered, or older; {@code broker.unannounced}: it
     *     is newer, by somebody who may not write it; {@code endpoint.*}, or the code with which the endpoint refused
     */
    static Dataset check(FileSystem fileSystem, Dataset head, Configuration configuration) throws IOException {
        EndpointClient register = EndpointClient.of(configuration);
        Dataset found = head;
        Optional<CommitHead> known = register.registeredHead(found.commit().dataset());
        for (int attempt = 1; known.isPresent(); attempt++) {
            try {
                Set<CommitHead> later = later(fileSystem, found, known.get(), configuration);
                if (!later.isEmpty()) {
                    checkAnnounced(later, register, found);
                }
                return found;
            } catch (RedoubtException e) {
                if (!REFUSALS.contains(e.code())) {
                    throw e;
                }
                // Others may have committed and registered between the two looks.
                Dataset newest = Dataset.read(fileSystem, head.root(), configuration);
                Optional<CommitHead> now = register.registeredHead(newest.commit().dataset());
                if (attempt == ATTEMPTS || (now.equals(known) && newest.head().equals(found.head()))) {
                    throw e;
                }
                found = newest;
                known = now;
            }
        }
        return found;
    }

    /** Returns the commits after the registered one, up to {@code head}, whose chain leads to it. */
    private static Set<CommitHead> later(
            FileSystem fileSystem, Dataset head, CommitHead known, Configuration configuration) throws IOException {
        long number = head.commit().number();
        if (known.number() > number) {
            throw rollback(head.root() + " ends with commit " + number + "; commit " + known.number() + " is registered");
        }
        Set<CommitHead> later = new HashSet<>();
        Dataset record = head;
        while (record.commit().number() > known.number() + 1) {
            later.add(record.head());
            long before = record.commit().number() - 1;
            Optional<String> named = record.commit().previous();
            record = Dataset.read(fileSystem, head.root(), before, configuration);
            if (!named.equals(Optional.of(record.commitDigest()))) {
                throw rollback("commit " + before + " of " + head.root() + " is not the one that the next commit follows");
            }
        }
        boolean isHead = record.commit().number() == known.number();
        if (!isHead) {
            later.add(record.head());
        }
        Optional<String> digest = isHead ? Optional.of(record.commitDigest()) : record.commit().previous();
        if (!digest.equals(Optional.of(known.digest()))) {
            throw rollback("commit " + known.number() + " of " + head.root() + " is not the one that is registered");
        }
        return later;
    }

    private static void checkAnnounced(Set<CommitHead> later, EndpointClient register, Dataset head)
            throws RedoubtException {
        Set<CommitHead> announced = register.announcedHeads(head.commit().dataset());
        for (CommitHead commit : later) {
            if (!announced.contains(commit)) {
                throw new RedoubtException(
                        ErrorCode.COMMIT_UNANNOUNCED,
                        "commit " + commit.number() + " of " + head.root() + " was announced by nobody who may write it");
            }
        }
    }

    /**
     * Registers {@code head}, which is durable; does nothing where nobody keeps a register, or if a commit on top of it is
     * registered. Storage may have shown others another history: what is registered must be one with {@code head}.
     *
     * @throws RedoubtException {@code broker.register_conflict}: others registered commits all the time, or this job may not;
     *     {@code broker.rollback}: {@code head} does not follow what is registered, nor is it followed by that; {@code
     *     endpoint.*}, or the code with which the endpoint refused
     */
    public static void register(
            FileSystem fileSystem, Path root, UUID dataset, CommitHead head, Configuration configuration) throws IOException {
        EndpointClient register = EndpointClient.of(configuration);
        for (int attempt = 1; ; attempt++) {
            Optional<CommitHead> known = register.registeredHead(dataset);
            if (known.isPresent()) {
                boolean after = known.get().number() >= head.number();
                CommitHead last = after ? known.get() : head;
                later(fileSystem, read(fileSystem, root, last, configuration), after ? head : known.get(), configuration);
                if (after) {
                    return; // somebody committed on top of this commit meanwhile, and registered that
                }
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

    private static Dataset read(FileSystem fileSystem, Path root, CommitHead commit, Configuration configuration)
            throws IOException {
        Dataset found = Dataset.read(fileSystem, root, commit.number(), configuration);
        if (!found.head().equals(commit)) {
            throw rollback("commit " + commit.number() + " of " + root + " is not the one that is registered or was written");
        }
        return found;
    }

    private static RedoubtException rollback(String what) {
        return new RedoubtException(ErrorCode.REGISTER_ROLLBACK, what);
    }
}
