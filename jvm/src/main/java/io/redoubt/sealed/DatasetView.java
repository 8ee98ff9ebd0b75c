package io.redoubt.sealed;

import io.redoubt.RedoubtException;
import io.redoubt.crypto.BodyGeometry;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
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
 * task that wrote it ({@code ~1}). Names that would be the same, or that of a folder, get the id of their commit: every part is
 * shown, under one name. By its own name a part is there too, though not shown: programs were given such names before there was
 * a view.
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
        Set<String> taken = new HashSet<>();
        for (Part part : commit.parts()) {
            String name = shownName(part);
            names.computeIfAbsent(name, key -> new ArrayList<>()).add(part);
            for (int slash = name.indexOf('/'); slash >= 0; slash = name.indexOf('/', slash + 1)) {
                taken.add(name.substring(0, slash));
            }
            boolean decrypted = part.kind() != Part.Kind.PARQUET && !part.name().endsWith(SEALED);
            put(stored, part.name(), shown(part, decrypted));
        }
        List<Part> ambiguous = new ArrayList<>();
        shown.put("", new LinkedHashSet<>());
        for (Map.Entry<String, List<Part>> entry : names.entrySet()) {
            if (entry.getValue().size() == 1 && taken.add(entry.getKey())) {
                show(entry.getKey(), entry.getValue().get(0));
            } else {
                ambiguous.addAll(entry.getValue());
            }
        }
        for (Part part : ambiguous) {
            Object id = part.kind() == Part.Kind.STANDALONE ? part.owner() : part.commit();
            String name = distinct(shownName(part), "-" + id);
            for (int number = 1; !taken.add(name); number++) {
                name = distinct(shownName(part), "-" + id + "-" + number);
            }
            show(name, part);
        }
    }

    private void show(String name, Part part) throws RedoubtException {
        put(shown, name, shown(part, part.kind() != Part.Kind.PARQUET));
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
        if (part.kind() == Part.Kind.PARQUET || !("/" + name).matches("(?s).*[^/]\\.sealed")) {
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

    /** Readers of compressed text go by the end of a name, so what tells two apart stands before it. */
    private static String distinct(String name, String mark) {
        int base = name.lastIndexOf('/') + 1;
        int dot = name.indexOf('.', base + 1);
        int end = dot < 0 ? name.length() : dot;
        return name.substring(0, end) + mark + name.substring(end);
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
