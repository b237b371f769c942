package edgedistill.glue

/** What edgedistill knows about this bundle. Written by edgedistill; do not edit. */
public object Generated {
    /** Name of the model. */
    public const val NAME: String = "made"

    /** The runtimes in build.gradle.kts, with their versions there. */
    public val RUNTIMES: List<ModelRuntime> = listOf(
        MeanRuntime(),
    )
}
