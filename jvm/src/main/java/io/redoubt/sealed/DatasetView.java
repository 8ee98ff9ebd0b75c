package io.redoubt.sealed;

import io.redoubt.RedoubtException;
import io.redoubt.crypto.BodyGeometry;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The files and folders that a program sees in a dataset, from its commit record alone.
 *
 * <p>A part {@code data/<commit id>/<rest>} is shown as {@code <rest>}, without {@code .sealed}, and without the attempt of the
 * task that wrote it ({@code ~1}). Names that would be the same get the id of their commit. By its own name a part is there too,
 * though not shown: programs were given such names before there was a view.
 */
public final class DatasetView {
    /** Suffix of sealed files. */
    public static final String SEALED = ".sealed";

    private static final Pattern ATTEMPT = Pattern.compile("(.+)~[0-9]{1,10}", Pattern.DOTALL);

    /**
     * A file as a program sees it.
     *
     * @param decrypted whether it is shown as its plaintext; else as the bytes that are stored
     * @param length of what is shown
     */
    public record Shown(Part part, boolean decrypted, long length) {}

    private final Map<String, Shown> files = new HashMap<>();
    private final Map<String, Set<String>> shown = new HashMap<>();
    private final Map<String, Set<String>> stored = new HashMap<>();

    DatasetView(CommitRecord commit) throws RedoubtException {
        Map<String, List<Part>> names = new LinkedHashMap<>();
        for (Part part : commit.parts()) {
            names.computeIfAbsent(shownName(part), name -> new ArrayList<>()).add(part);
            boolean decrypted = part.kind() != Part.Kind.PARQUET && !part.name().endsWith(SEALED);
            put(stored, part.name(), shown(part, decrypted));
        }
        shown.put("", new LinkedHashSet<>());
        for (Map.Entry<String, List<Part>> entry : names.entrySet()) {
            boolean one = entry.getValue().size() == 1;
            for (Part part : entry.getValue()) {
                String name = one ? entry.getKey() : distinct(entry.getKey(), part);
                put(shown, name, shown(part, part.kind() != Part.Kind.PARQUET));
            }
        }
    }

    /** The file of this name, relative to the dataset. */
    public Optional<Shown> file(String name) {
        return Optional.ofNullable(files.get(name));
    }

    /** The names in a folder; {@code ""} is the dataset itself. Nothing if there is no such folder. */
    public Optional<Collection<String>> folder(String name) {
        Set<String> children = shown.get(name);
        return Optional.ofNullable(children != null ? children : stored.get(name)).map(List::copyOf);
    }

    /** Whether parts are shown in a folder of this name. */
    public boolean isShownFolder(String name) {
        return shown.containsKey(name);
    }

    /** The name under which a part is shown if no other part has the same. */
    public static String shownName(Part part) {
        String own = "data/" + part.commit() + "/";
        String name = part.name().startsWith(own) ? part.name().substring(own.length()) : part.name();
        if (part.kind() == Part.Kind.PARQUET || !name.endsWith(SEALED) || name.endsWith("/" + SEALED)) {
            return name;
        }
        String bare = name.substring(0, name.length() - SEALED.length());
        Matcher attempt = ATTEMPT.matcher(bare);
        return attempt.matches() && !attempt.group(1).endsWith("/") ? attempt.group(1) : bare;
    }

    private static Shown shown(Part part, boolean decrypted) throws RedoubtException {
        return new Shown(part, decrypted, decrypted ? plaintextLength(part) : part.length());
    }

    private static long plaintextLength(Part part) throws RedoubtException {
        int start = part.kind() == Part.Kind.STANDALONE ? StandalonePreamble.BYTES : part.header().encode().length;
        return BodyGeometry.of(part.length() - start).plaintextLength();
    }

    /** Readers of compressed text go by the end of a name, so the id stands before it. */
    private static String distinct(String name, Part part) {
        int base = name.lastIndexOf('/') + 1;
        int dot = name.indexOf('.', base + 1);
        int end = dot < 0 ? name.length() : dot;
        Object id = part.kind() == Part.Kind.STANDALONE ? part.owner() : part.commit();
        return name.substring(0, end) + "-" + id + name.substring(end);
    }

    private void put(Map<String, Set<String>> tree, String name, Shown file) {
        files.put(name, file);
        for (String child = name; !child.isEmpty(); ) {
            int slash = child.lastIndexOf('/');
            String parent = slash < 0 ? "" : child.substring(0, slash);
            tree.computeIfAbsent(parent, folder -> new LinkedHashSet<>()).add(child.substring(slash + 1));
            child = parent;
        }
    }
}
