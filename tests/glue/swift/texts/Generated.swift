// What the template Generated.swift becomes, for the bundles that the tests make; folder and runtimes are the tests'
// own.
import Foundation

/// Facts of the model made. Written by edgedistill; do not edit.
public enum Generated {
    public static let name = "made"
    public static let labels = ["weather", "a 2nd one", "語"]

    public static var folder: URL { URL(fileURLWithPath: FileManager.default.currentDirectoryPath) }

    public static var runtimes: [any Runtime.Type] { [TableRuntime.self] }
}
